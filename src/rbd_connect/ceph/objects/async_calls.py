"""librados' asynchronous calls: for asking an OSD several things at once, or for waiting no longer than one has
patience, since an OSD may never answer. And the handles of pools, which such calls need until they have ended.
"""

import errno
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import rados

__all__ = ["BoundedReply", "Keys", "KeysReply", "Reply", "are_unanswered", "open_handle"]


class _Start(Protocol):
    def __call__(self, *, oncomplete: Callable[..., None]) -> rados.Completion: ...


def _ignore() -> None:
    pass


def open_handle(connection: rados.Rados, pool_id: int, namespace: str = "") -> rados.Ioctx:
    """Open a pool, in one of its namespaces. Raises ``rados.ObjectNotFound`` where there is none with the id.

    It must not be closed: that comes when nothing refers to it any more, so not before calls on it have ended. librados
    itself keeps no handle open for a read, and crashes where it was closed (``IoCtxImpl::aio_read``, unlike
    ``queue_aio_write``).
    """
    ioctx = connection.open_ioctx2(pool_id)
    ioctx.set_namespace(namespace)
    return ioctx


class _Call(ABC):
    """An asynchronous call of ``rados.Ioctx``, which is begun at once.

    When it ends, librados writes to the binding's objects and calls them, whoever has lost patience or let go of this.
    They hold each other, and nothing else holds them: the garbage collector would free them under librados, which ends
    the process. So each call that has not ended is held here, with its completion, and with that the pool's handle.
    """

    __slots__ = ("_completion",)

    def __init__(self, start: _Start) -> None:
        _unended.add(self)
        try:
            self._completion = start(oncomplete=self._end)
        except BaseException:
            _unended.discard(self)
            raise

    def _end(self, completion: rados.Completion, data: bytes | None = None) -> None:
        try:
            self._take(completion, data)
        finally:
            _unended.discard(self)

    @abstractmethod
    def _take(self, completion: rados.Completion, data: bytes | None) -> None:
        """Take what the call has ended with, on a thread of librados."""


_unended: set[_Call] = set()


def are_unanswered() -> bool:
    """Say whether an OSD still owes an answer, so that the connection must not be closed."""
    return bool(_unended)


class BoundedReply(_Call):
    """The reply to a call, waited for no longer than a caller has patience. What is read is not kept."""

    __slots__ = ("_ended", "_status")

    def __init__(self, start: _Start) -> None:
        self._ended = threading.Event()
        self._status = 0
        super().__init__(start)

    def status(self, patience: float) -> int | None:
        """Return 0 or the positive errno that the call ended with; None where it has not ended within some seconds."""
        return max(0, -self._status) if self._ended.wait(patience) else None

    def _take(self, completion: rados.Completion, data: bytes | None) -> None:  # noqa: ARG002 - the data is not kept
        self._status = completion.get_return_value()
        self._ended.set()


class Reply(_Call):
    """What a call that gives data will give.

    ``on_end`` is called by a thread of librados as soon as ``wait`` need not wait any more. The answer of a class
    method must fit into the length that it is given: ``rados_aio_exec`` writes beyond it (seen with 16.2.15).
    """

    __slots__ = ("_data", "_on_end")

    def __init__(self, start: _Start, on_end: Callable[[], None] = _ignore) -> None:
        self._data: bytes | None = None
        self._on_end = on_end
        super().__init__(start)

    def wait(self) -> bytes:
        """Give the data. Raises ``rados.ObjectNotFound``, ``rados.OSError``."""
        self._completion.wait_for_complete_and_cb()
        # Where there is no data, the binding leaves its whole buffer as it was.
        return (self._data or b"")[: _number(self._completion)]

    def _take(self, completion: rados.Completion, data: bytes | None) -> None:  # noqa: ARG002 - `wait` has it
        self._data = data
        self._on_end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """So many of the keys of an object's omap that have a prefix and follow ``after``."""

    oid: str
    prefix: str
    after: str
    at_most: int


class KeysReply(_Call):
    """What an object's omap has (``rados_read_op_omap_get_vals2``)."""

    __slots__ = ("_found", "_ioctx", "_keys", "_on_end")

    def __init__(self, ioctx: rados.Ioctx, keys: Keys, on_end: Callable[[], None] = _ignore) -> None:
        """``on_end`` is as for ``Reply``."""
        self._ioctx = ioctx
        self._keys = keys
        self._on_end = on_end
        super().__init__(self._read)

    def wait(self) -> dict[bytes, bytes]:
        """Give the keys and values. Raises ``rados.ObjectNotFound``, ``rados.OSError``."""
        self._completion.wait_for_complete_and_cb()
        _number(self._completion)
        found: dict[bytes, bytes] = {}
        while True:
            try:
                key, value = next(self._found)
            except StopIteration:
                return found
            except UnicodeDecodeError as error:  # by the binding, which has gone on to the next
                found[error.object] = b""
            else:
                found[key.encode()] = value or b""

    def _read(self, *, oncomplete: Callable[..., None]) -> rados.Completion:
        keys = self._keys
        with rados.ReadOpCtx() as read:
            # librados writes to where this points.
            self._found, _ = self._ioctx.get_omap_vals(read, keys.after, keys.prefix, keys.at_most)
            return self._ioctx.operate_aio_read_op(read, keys.oid, oncomplete=oncomplete)

    def _take(self, completion: rados.Completion, data: bytes | None) -> None:  # noqa: ARG002 - `wait` has it
        self._on_end()


def _number(completion: rados.Completion) -> int:
    """Give what a call returned. Raises ``rados.ObjectNotFound``, ``rados.OSError``."""
    status = completion.get_return_value()
    if status == -errno.ENOENT:
        raise rados.ObjectNotFound("an asynchronous call", errno=errno.ENOENT)
    if status < 0:
        raise rados.OSError("an asynchronous call", errno=-status)
    return status
