"""librados' asynchronous calls, waited for no longer than a caller has patience: an OSD may never answer."""

import threading
from collections.abc import Callable
from typing import Protocol

import rados

__all__ = ["BoundedReply", "are_unanswered"]


class _Start(Protocol):
    def __call__(self, *, oncomplete: Callable[..., None]) -> rados.Completion: ...


# What has not ended: librados calls the binding's objects when it does, whoever has lost patience, or closed the pool.
_unended: "set[BoundedReply]" = set()


class BoundedReply:
    """The reply to an asynchronous call of ``rados.Ioctx``, which is begun at once. What is read is not kept."""

    def __init__(self, start: _Start) -> None:
        self._ended = threading.Event()
        self._status = 0
        self._start = start  # and with it the pool
        _unended.add(self)
        try:
            self._completion = start(oncomplete=self._end)
        except BaseException:
            _unended.discard(self)
            raise

    def _end(self, completion: rados.Completion, *_data: object) -> None:
        self._status = completion.get_return_value()
        self._ended.set()
        _unended.discard(self)

    def status(self, patience: float) -> int | None:
        """Return 0 or the positive errno that the call ended with; None where it has not ended within some seconds."""
        return max(0, -self._status) if self._ended.wait(patience) else None


def are_unanswered() -> bool:
    """Say whether an OSD still owes an answer, so that the connection must not be closed."""
    return bool(_unended)
