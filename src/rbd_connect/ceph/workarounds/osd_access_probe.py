"""Whether the OSDs let a connection in.

Since Ceph 18 an OSD does not talk to a client that has no caps for OSDs (before, it answered each operation EPERM), and
librados tries again for as long as an operation may take, whatever is granted meanwhile. The only trace is among the
recent lines of its log, which it keeps in memory (``MonClient::handle_auth_bad_method``).
"""

import errno
import os
import threading
import time
from contextlib import suppress
from functools import partial

import rados

from rbd_connect.ceph.objects.async_calls import BoundedReply
from rbd_connect.ceph.pools.info import mon_command

from .admin_socket import AdminSocket

__all__ = ["OsdAccessProbe"]

# What is read is of no interest, nor whether it is there; librbd has this object in each pool.
_OBJECT = "rbd_directory"
_POLL_SECONDS = 0.05
_PATIENCE_SECONDS = 3.0
# librados tries again after 0.2 s, then twice as long. An OSD that has just started may refuse once too often.
_REFUSALS = 3
_FIRST_RELEASE = "reef"  # the names of releases are in the order of the alphabet
_REFUSAL = f"handle_auth_bad_method hmm, they didn't like 2 result ({errno.EACCES})"
# The level of lines that are kept, "logged/kept": 0/10 by default, but it may be configured to be less.
_LEVEL_OPTION, _LEVEL = "debug_monc", 10


class OsdAccessProbe:
    """That of a connection. Its calls block; from any thread."""

    def __init__(self, connection: rados.Rados, admin_socket: AdminSocket) -> None:
        self._connection = connection
        self._admin_socket = admin_socket
        self._lock = threading.Lock()
        self._is_refused: bool | None = None
        with suppress(rados.Error, ValueError):
            logged, _, kept = (connection.conf_get(_LEVEL_OPTION) or "").partition("/")
            if int(kept) < _LEVEL:
                connection.conf_set(_LEVEL_OPTION, f"{logged}/{_LEVEL}")

    def check(self, ioctx: rados.Ioctx) -> None:
        """Return when an OSD has answered once, whatever it did, or has not for three seconds.

        Raises rados.PermissionError where the OSDs refuse the connection.
        """
        if self._is_refused is None:
            with self._lock:
                if self._is_refused is None:
                    self._is_refused = self._wait(ioctx)
        if self._is_refused:
            raise rados.PermissionError("the OSDs refuse the connection", errno=errno.EPERM)

    def _wait(self, ioctx: rados.Ioctx) -> bool:
        """Ask an OSD for something, and say whether it refuses to be asked."""
        answer = BoundedReply(partial(ioctx.aio_read, _OBJECT, 1, 0))
        until = time.monotonic() + _PATIENCE_SECONDS
        while answer.status(_POLL_SECONDS) is None and time.monotonic() < until:
            if self._recent_log().count(_REFUSAL) >= _REFUSALS and self._refuse_for_caps():
                return True
        return False

    def _refuse_for_caps(self) -> bool:
        """Say whether OSDs of this release refuse for missing caps. Older ones do so only while they start."""
        with suppress(rados.Error, ValueError):
            release = mon_command(self._connection, "osd dump").get("require_osd_release", "")
            return str(release) >= _FIRST_RELEASE
        return False

    def _recent_log(self) -> str:
        """Give the recent lines of librados' log, which is a file in memory for as long as that takes."""
        with suppress(OSError, rados.Error), os.fdopen(os.memfd_create("log"), errors="replace") as lines:
            usual = self._connection.conf_get("log_file") or ""
            self._connection.conf_set("log_file", f"/proc/self/fd/{lines.fileno()}")
            try:
                self._admin_socket.dump_log()
            finally:
                self._connection.conf_set("log_file", usual)
            return lines.read()
        return ""
