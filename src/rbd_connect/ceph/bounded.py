"""librados' asynchronous calls, waited for no longer than a caller has patience: an OSD may never answer."""

import errno
import threading
from collections.abc import Callable
from typing import Protocol

import rados

__all__ = ["BoundedReply"]


class _Start(Protocol):
    def __call__(self, *, oncomplete: Callable[..., None]) -> rados.Completion: ...


class BoundedReply:
    """The reply to an asynchronous call of ``rados.Ioctx``, which is begun at once."""

    def __init__(self, start: _Start) -> None:
        self._ended = threading.Event()
        self._status = 0
        self._data = b""
        self._completion = start(oncomplete=self._keep)

    def _keep(self, completion: rados.Completion, data: bytes | None = None) -> None:
        self._status = completion.get_return_value()
        self._data = data or b""
        self._ended.set()

    def status(self, patience: float) -> int | None:
        """Return 0 or the positive errno that the call ended with; None where it has not ended within some seconds."""
        return max(0, -self._status) if self._ended.wait(patience) else None

    def data(self, patience: float) -> bytes | None:
        """Return the data; None where the object, or what was asked of it, is not there.

        Raises ``rados.TimedOut`` where no answer comes within some seconds, else ``rados.OSError``.
        """
        status = self.status(patience)
        if status is None:
            raise rados.TimedOut("an asynchronous call", errno=errno.ETIMEDOUT)
        if status == errno.ENOENT:
            return None
        if status:
            raise rados.OSError("an asynchronous call", errno=status)
        return self._data
