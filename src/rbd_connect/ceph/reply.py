"""Asking an OSD several things at once: librados' asynchronous calls, and their data."""

import errno
from collections.abc import Callable
from typing import Protocol

import rados

__all__ = ["Reply"]


class _Start(Protocol):
    def __call__(self, *, oncomplete: Callable[[rados.Completion, bytes | None], None]) -> rados.Completion: ...


class Reply:
    """What an asynchronous call of ``rados.Ioctx`` that gives data will give."""

    def __init__(self, start: _Start) -> None:
        self._data: bytes | None = None
        self._completion = start(oncomplete=self._keep)

    def wait(self) -> bytes:
        """Give the data. Raises ``rados.ObjectNotFound``, ``rados.OSError``."""
        self._completion.wait_for_complete_and_cb()
        status = self._completion.get_return_value()
        if status == -errno.ENOENT:
            raise rados.ObjectNotFound("an asynchronous call", errno=errno.ENOENT)
        if status < 0:
            raise rados.OSError("an asynchronous call", errno=-status)
        return self._data or b""

    def _keep(self, _completion: rados.Completion, data: bytes | None) -> None:
        self._data = data
