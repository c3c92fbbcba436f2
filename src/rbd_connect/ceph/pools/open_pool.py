"""A pool that is open for one call, by the name that it has now."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.objects.async_calls import open_handle
from rbd_connect.ceph.objects.header import id_of
from rbd_connect.model.errors import RetryableError, quoted
from rbd_connect.model.names import ImageSpec

from .pool_map import CurrentPools, PoolMap, PoolState

__all__ = ["OpenPool"]

# A name that was looked up this long ago is looked up again before anything is changed.
_FRESH_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPool:
    """A pool, in one of its namespaces. ``pools`` are all pools at the moment when it was opened."""

    connection: rados.Rados
    ioctx: rados.Ioctx
    state: PoolState
    namespace: str
    pools: PoolMap
    current: CurrentPools
    opened: float = field(default_factory=time.monotonic)

    def option(self, name: str) -> str:
        """Return one of librbd's options as it is for this pool (`rbd config pool set`, else ``rados_conf_get``).

        The pool's own are kept in its default namespace, and hold in all of them.
        """
        with suppress(KeyError):
            return rbd.RBD().config_get(open_handle(self.connection, self.state.id), name)
        return self.connection.conf_get(name) or ""

    def pool_name(self, pool_id: int, namespace: str) -> str:
        """Name a pool and a namespace of it, as in ``pool/namespace``; a pool that has gone by its id."""
        state = self.pools.by_id.get(pool_id)
        pool = f"#{pool_id}" if state is None else state.name
        return f"{pool}/{namespace}" if namespace else pool

    def check_still_named(self, spec: ImageSpec, image_id: str | None) -> None:
        """Make sure that the names of a call mean what they meant when it began, where that was a while ago.

        ``image_id`` is the id of the open image; None where it has none, or is not open.

        Raises RetryableError (aborted) where the pool's or the image's name means another by now: nothing was done.
        """
        if time.monotonic() - self.opened < _FRESH_SECONDS:
            return
        named = self.current.now().named(self.state.name)
        if named is None or named.id != self.state.id:
            raise _renamed(f"pool {quoted(self.state.name)}")
        if image_id is not None and id_of(self.ioctx, spec.image) != image_id:
            raise _renamed(f"image {quoted(spec.image)}")


def _renamed(what: str) -> RetryableError:
    return RetryableError(
        Code.ABORTED,
        "NAME_CHANGED",
        f"The {what} was renamed or replaced while the call waited. Nothing was done. Retry if you mean the new one.",
    )
