"""Asking an OSD several things at once: librados' asynchronous calls, and their data."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import rados

__all__ = ["Keys", "KeysReply", "Reply"]


class _Start(Protocol):
    def __call__(self, *, oncomplete: Callable[[rados.Completion, bytes | None], None]) -> rados.Completion: ...


def _ignore() -> None:
    pass


class Reply:
    """What an asynchronous call of ``rados.Ioctx`` that gives data will give.

    ``on_end`` is called by a thread of librados as soon as ``wait`` need not wait any more. The answer of a class
    method must fit into the length that it is given: ``rados_aio_exec`` writes beyond it (seen with 16.2.15).
    """

    def __init__(self, start: _Start, on_end: Callable[[], None] = _ignore) -> None:
        self._data: bytes | None = None
        self._on_end = on_end
        self._completion = start(oncomplete=self._keep)

    def wait(self) -> bytes:
        """Give the data. Raises ``rados.ObjectNotFound``, ``rados.OSError``."""
        self._completion.wait_for_complete_and_cb()
        # Where there is no data, the binding leaves its whole buffer as it was.
        return (self._data or b"")[: _number(self._completion)]

    def _keep(self, _completion: rados.Completion, data: bytes | None) -> None:
        self._data = data
        self._on_end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """So many of the keys of an object's omap that have a prefix and follow ``after``."""

    oid: str
    prefix: str
    after: str
    at_most: int


class KeysReply:
    """What an object's omap has, asked for asynchronously (``rados_read_op_omap_get_vals2``)."""

    def __init__(self, ioctx: rados.Ioctx, keys: Keys, on_end: Callable[[], None] = _ignore) -> None:
        """``on_end`` is as for ``Reply``."""
        self._on_end = on_end
        with rados.ReadOpCtx() as read:
            # librados writes to where this points, so it stays until the call has ended: the completion keeps it.
            self._found, _ = ioctx.get_omap_vals(read, keys.after, keys.prefix, keys.at_most)
            self._completion = ioctx.operate_aio_read_op(read, keys.oid, oncomplete=self._ended)

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

    def _ended(self, _completion: rados.Completion) -> None:
        self._on_end()


def _number(completion: rados.Completion) -> int:
    """Give what a call returned. Raises ``rados.ObjectNotFound``, ``rados.OSError``."""
    status = completion.get_return_value()
    if status == -errno.ENOENT:
        raise rados.ObjectNotFound("an asynchronous call", errno=errno.ENOENT)
    if status < 0:
        raise rados.OSError("an asynchronous call", errno=-status)
    return status
