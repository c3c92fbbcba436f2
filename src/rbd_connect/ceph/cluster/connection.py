"""One scope's connection to its Ceph cluster: opened at the first call, shared by all, closed last."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from types import MappingProxyType

import rados

from rbd_connect.ceph.errors import ceph_errors
from rbd_connect.ceph.listing.image_lists import ImageLists
from rbd_connect.ceph.objects.async_calls import are_unanswered, open_handle
from rbd_connect.ceph.pools.info import PlacementGroups, mon_command
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.pools.pool_map import CurrentPools
from rbd_connect.ceph.workarounds.admin_socket import AdminSocket, opened
from rbd_connect.ceph.workarounds.osd_access_probe import OsdAccessProbe
from rbd_connect.common.call_context import phase
from rbd_connect.common.unguessable_path import unguessable_path
from rbd_connect.config.cluster import ClusterConfig
from rbd_connect.config.file_stamps import Files
from rbd_connect.model.errors import ServiceError
from rbd_connect.model.not_found import no_pool

from .connect_errors import Identification
from .keyrings import files_with_keys
from .monitor_config import MonitorConfig
from .osd_probe import OsdProbe
from .pinned_options import PinnedOptions

__all__ = ["Cluster", "unconnected"]

# Who comes back is to be found within seconds. By default librados tries a monitor every 3 s at first, every 30 s at
# last, and gives one that is frozen 30 s before it turns to another; a connection may take 10 s to be made, and 15 s
# may pass before the next; and after 10 s without an answer it asks, every 5 s, where the OSD is now
# (src/common/options/global.yaml.in).
_RECONNECT_OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "mon_client_hunt_interval": "1",
        "mon_client_hunt_interval_max_multiple": "4",
        "mon_client_ping_interval": "2",
        "mon_client_ping_timeout": "8",
        "ms_connection_ready_timeout": "5",
        "ms_max_backoff": "1",
        "objecter_tick_interval": "1",
        "objecter_timeout": "3",
    }
)


class Cluster:
    """A Ceph cluster under the name of its scope. Its calls block; they may come from any thread."""

    def __init__(
        self,
        config: ClusterConfig,
        on_connected: Callable[[str], None] = lambda _: None,
        admin_socket: Path | None = None,
    ) -> None:
        """``on_connected`` is given the address of the connection, as soon as there is one (``rados_getaddrs``).

        ``admin_socket`` is a path for librados' admin socket; without, one is chosen. Nothing is left there.
        """
        self._config = config
        self._place = admin_socket or unguessable_path()
        self._on_connected = on_connected
        self._lock = threading.Lock()
        self._connection: rados.Rados | None = None
        self._admin_socket = AdminSocket()
        self._pinned: PinnedOptions | None = None
        self._configured: MonitorConfig | None = None
        self._admission: OsdAccessProbe | None = None
        self._files = Files()
        self._failures = 0
        self._failure: ServiceError | None = None
        self._pools: CurrentPools | None = None
        self._osd_probe = OsdProbe()
        self.placement_groups = PlacementGroups()
        self.image_lists = ImageLists(self.check_admitted, config.namespaces)

    @contextmanager
    def connection(self) -> Iterator[rados.Rados]:
        """Give the connection. Everything of Ceph happens inside; CephError is what comes out.

        Raises CephError.
        """
        connection = self._connected()
        with ceph_errors():
            yield connection

    @contextmanager
    def pool(self, name: str, namespace: str = "", *, full_try: bool = False) -> Iterator[OpenPool]:
        """Open the pool that has a name now, in one of its namespaces, as ``connection`` does.

        With ``full_try``, what takes no space succeeds also where the pool is full (``rados_set_osdmap_full_try``).

        Raises NotFoundError for the pool, CephError.
        """
        with self.connection() as connection:
            current = self._pools
            assert current is not None  # noqa: S101 - it was made with the connection
            with phase("pool"):
                pools = current.now()
            state = pools.named(name)
            if state is None:
                raise no_pool(name, self._config.scope)
            try:
                ioctx = open_handle(connection, state.id, namespace)
            except rados.ObjectNotFound as error:
                raise no_pool(name, self._config.scope) from error
            self.check_admitted(ioctx)
            if full_try:
                ioctx.set_osdmap_full_try()
            yield OpenPool(
                connection=connection, ioctx=ioctx, state=state, namespace=namespace, pools=pools, current=current
            )

    @contextmanager
    def pool_with_room(self, name: str, namespace: str = "") -> Iterator[OpenPool]:
        """Open a pool as ``pool`` does, to write in it. Raises CephError (resource_exhausted) where it is full."""
        with self.pool(name, namespace) as pool:
            pool.state.check_room()
            yield pool

    def check_admitted(self, ioctx: rados.Ioctx) -> None:
        """See that the OSDs let this client in; see ``OsdAccessProbe.check``. Raises rados.PermissionError."""
        if self._admission is not None:
            self._admission.check(ioctx)

    def probe(self) -> None:
        """Connect if need be, and ask the monitor something. Raises CephError."""
        with self.connection() as connection:
            mon_command(connection, "osd lspools")

    def osds_answer(self) -> bool:
        """Connect if need be, ask a monitor for the pools, and say whether OSDs answer. Raises CephError."""
        with self.connection() as connection:
            assert self._pools is not None  # noqa: S101 - it was made with the connection
            return self._osd_probe.answers(connection, self._pools.now())

    def objects_in_flight(self, prefix: str) -> list[int]:
        """Give the objects of an image that operations are under way on; see ``AdminSocket.objects_in_flight``."""
        return self._admin_socket.objects_in_flight(prefix)

    def blocklist(self, address: str) -> None:
        """Blocklist a client that has ended (``rados_blocklist_add``), for an hour unless the cluster says otherwise
        (``mon_osd_blocklist_default_expire``).

        Its watches end now, not when Ceph takes it for gone, and its locks can be broken. Raises CephError.
        """
        with self.connection() as connection:
            connection.blocklist_add(address)

    @property
    def is_waiting(self) -> bool:
        """Whether Ceph has not answered something that was asked, so that the connection must not be closed."""
        return self.image_lists.is_waiting or are_unanswered()

    def has_changed(self) -> bool:
        """Say whether what the connection was made by is another now: configuration, keyring, what monitors set."""
        return (
            self._files.have_changed()
            or (self._pinned is not None and self._pinned.has_changed())
            or (self._configured is not None and self._configured.has_changed())
        )

    def review_configuration(self) -> None:
        """Look for what the monitors configure and the connection cannot follow; see ``MonitorConfig.review``.

        For one thread of its own: it blocks for as long as they do. It must have ended before ``close``.
        """
        if self._configured is not None:
            self._configured.review()

    def check_alive(self) -> None:
        """Return, where librados does (``rados_conf_get``): what is asked here takes the lock that all else needs."""
        connection = self._connection
        if connection is not None:
            connection.conf_get("fsid")

    def close(self) -> None:
        """Close the connection (``rados_shutdown``), if there is one. No call may be under way."""
        with self._lock:
            if self._connection is not None:
                self._connection.shutdown()
                self._connection = None
                self._admin_socket.close()

    def remove_admin_socket(self) -> None:
        """Remove what a connection that is not closed may leave. The server does so too, where it is there still."""
        if self._place is not None:
            with suppress(OSError):
                self._place.unlink()

    def _connected(self) -> rados.Rados:
        """Give the connection, opened (``rados_connect``) by whoever needs it first.

        A failure is that of all who waited for it, and the next tries anew. Raises CephError.
        """
        failures = self._failures
        with self._lock:
            if self._connection is None:
                if self._failure is not None and self._failures > failures:
                    raise copy(self._failure)
                try:
                    self._connection = self._connect()
                except ServiceError as error:
                    self._failure = error
                    self._failures += 1
                    raise
            return self._connection

    def _connect(self) -> rados.Rados:
        by = self._identification
        self._files = Files()
        self._files.look_at(by.conf)
        try:
            connection = unconnected(self._config)
        except rados.Error as error:
            raise by.conf_error(error) from error
        self._files.look_at(*files_with_keys(connection))
        by.check_keyring(connection)
        with opened(connection, self._place) as self._admin_socket:
            try:
                connection.connect()
                self._on_connected(connection.get_addrs())
            except rados.Error as error:
                reason = by.connect_error(connection, error)
                connection.shutdown()
                raise reason from error
        self._configured = MonitorConfig(connection, self._admin_socket, self._configured_anew)
        self._pinned = PinnedOptions(connection, self._admin_socket)
        self._admission = OsdAccessProbe(connection, self._admin_socket)
        self._pools = CurrentPools(connection)
        return connection

    @property
    def _identification(self) -> Identification:
        config = self._config
        return Identification(
            scope=config.scope, conf=config.conf, client=config.client, timeout=config.connect_timeout
        )

    def _configured_anew(self) -> dict[str, object] | None:
        """Say what monitors set on a connection that is opened now, and closed. Raises rados.Error."""
        connection = unconnected(self._config)
        try:
            with opened(connection, self._place, as_configured=False) as admin_socket:
                connection.connect()
            values = admin_socket.set_by_monitors()
            admin_socket.close()
            return values
        finally:
            connection.shutdown()


def unconnected(config: ClusterConfig) -> rados.Rados:
    """Return a handle that is not connected: it has read the conf, and asked no cluster. Raises rados.Error."""
    # What $cluster stands for in a keyring's path is the name of the conf file, as with `ceph --cluster NAME`.
    return rados.Rados(
        conffile=str(config.conf), name=config.client, clustername=config.conf.stem, conf=_options(config)
    )


def _options(config: ClusterConfig) -> dict[str, str]:
    options = {
        **_RECONNECT_OPTIONS,
        "client_mount_timeout": str(config.connect_timeout),
        "rados_mon_op_timeout": str(config.mon_timeout),
        "rados_osd_op_timeout": str(config.osd_timeout),
    }
    if config.keyring is not None:
        options["keyring"] = str(config.keyring)
    return options
