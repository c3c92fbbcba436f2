"""One scope's connection to its Ceph cluster: opened at the first call, shared by all, closed last."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import rados
from connectrpc.code import Code

from ..errors import ServiceError
from ..files import Files
from ..missing import no_pool
from ..setting_types import is_exposed
from .admin_socket import AdminSocket, opened
from .admission import Admission
from .errnos import ceph_errors, conf_errors, connect_errors
from .listing import ImageLists
from .pinned import Pinned
from .pool_states import PoolStates
from .pools import PlacementGroups

__all__ = ["Cluster", "ClusterConfig"]

_log = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Where a scope's cluster is, as whom to connect, and how long librados may take for what, in seconds.

    ``namespaces`` are those to look into that may not be listed, as ``pool/namespace``.
    """

    scope: str
    conf: Path
    client: str
    keyring: Path | None
    connect_timeout: int
    mon_timeout: int
    osd_timeout: int
    namespaces: tuple[str, ...] = ()


class Cluster:
    """A Ceph cluster under the name of its scope. Its calls block; they may come from any thread."""

    def __init__(self, config: ClusterConfig, on_connected: Callable[[str], None] = lambda _: None) -> None:
        """``on_connected`` is given the address of the connection, as soon as there is one (``rados_getaddrs``)."""
        self._config = config
        self._on_connected = on_connected
        self._lock = threading.Lock()
        self._connection: rados.Rados | None = None
        self._admin_socket = AdminSocket()
        self._pinned: Pinned | None = None
        self._admission: Admission | None = None
        self._files = Files()
        self._failures = 0
        self._failure: ServiceError | None = None
        self._pool_states = PoolStates()
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
    def pool(self, name: str, namespace: str = "") -> Iterator[rados.Ioctx]:
        """Open a pool (``rados_ioctx_create``), in one of its namespaces, as ``connection`` does.

        Raises NotFoundError for the pool, CephError.
        """
        with self.connection() as connection:
            try:
                ioctx = connection.open_ioctx(name)
            except rados.ObjectNotFound as error:
                raise no_pool(name, self._config.scope) from error
            with ioctx:
                self.check_admitted(ioctx)
                ioctx.set_namespace(namespace)
                yield ioctx

    @contextmanager
    def pool_with_room(self, name: str, namespace: str = "") -> Iterator[rados.Ioctx]:
        """Open a pool as ``pool`` does, to write in it. Raises CephError (resource_exhausted) where it is full."""
        with self.pool(name, namespace) as ioctx:
            self._pool_states.check_room(self._connected(), name)
            yield ioctx

    @contextmanager
    def pool_for_images(self, name: str, namespace: str = "") -> Iterator[rados.Ioctx]:
        """Open a pool as ``pool_with_room`` does, to make images in it.

        Raises PreconditionError where it is for none.
        """
        with self.pool_with_room(name, namespace) as ioctx:
            self._pool_states.check_holds_images(self._connected(), name)
            yield ioctx

    @contextmanager
    def pool_even_if_full(self, name: str, namespace: str = "") -> Iterator[rados.Ioctx]:
        """Open a pool as ``pool`` does, for what succeeds also where it is full, since it takes no space."""
        with self.pool(name, namespace) as ioctx:
            ioctx.set_osdmap_full_try()
            yield ioctx

    def check_admitted(self, ioctx: rados.Ioctx) -> None:
        """See that the OSDs let this client in; see ``Admission.check``. Raises rados.PermissionError."""
        if self._admission is not None:
            self._admission.check(ioctx)

    @property
    def instance_id(self) -> int:
        """The number by which Ceph knows this client (``rados_get_instance_id``). Raises CephError."""
        number: int = self._connected().get_instance_id()
        return number

    def option(self, name: str) -> str:
        """Say what one of Ceph's options is set to (``rados_conf_get``). Raises CephError."""
        return self._connected().conf_get(name) or ""

    def probe(self) -> None:
        """Connect if need be, and ask the monitor something. Raises CephError."""
        with self.connection() as connection:
            self._pool_states.ask(connection)

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

    def has_changed(self) -> bool:
        """Say whether what the connection was made by is another now: configuration, keyring, what monitors set."""
        return self._files.have_changed() or (self._pinned is not None and self._pinned.has_changed())

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
        self._files = Files()
        self._files.look_at(self._config.conf)
        # What $cluster stands for in a keyring's path is the name of the conf file, as with `ceph --cluster NAME`.
        with conf_errors():
            connection = rados.Rados(
                conffile=str(self._config.conf),
                name=self._config.client,
                clustername=self._config.conf.stem,
                conf=self._options(),
            )
        keyrings = _keyrings(connection)
        self._files.look_at(*keyrings)
        _check_is_secret(keyrings)
        with connect_errors(), opened(connection) as self._admin_socket:
            try:
                connection.connect()
                self._on_connected(connection.get_addrs())
            except rados.Error:
                connection.shutdown()
                raise
        self._pinned = Pinned(connection, self._admin_socket)
        self._admission = Admission(connection, self._admin_socket)
        return connection

    def _options(self) -> dict[str, str]:
        options = {
            **_RECONNECT_OPTIONS,
            "client_mount_timeout": str(self._config.connect_timeout),
            "rados_mon_op_timeout": str(self._config.mon_timeout),
            "rados_osd_op_timeout": str(self._config.osd_timeout),
        }
        if self._config.keyring is not None:
            options["keyring"] = str(self._config.keyring)
        return options


def _check_is_secret(keyrings: list[Path]) -> None:
    """Raise ServiceError where every user of this machine may open the first of these that there is."""
    keyring = next((path for path in keyrings if path.is_file()), None)
    if keyring is not None and is_exposed(keyring):
        _log.error("every user may open %s, so it is not used; say: chmod o= %s", keyring, keyring)
        raise ServiceError(
            Code.PERMISSION_DENIED, "CEPH_KEYRING_EXPOSED", "The server's keyring is open to others, so it is not used."
        )


def _keyrings(connection: rados.Rados) -> list[Path]:
    """Say where librados looks for the keyring of a connection (``rados_conf_get``)."""
    return [Path(path.strip()) for path in (connection.conf_get("keyring") or "").split(",") if path.strip()]
