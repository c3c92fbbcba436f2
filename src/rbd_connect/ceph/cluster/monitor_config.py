"""Whether the monitors configure another thing than a connection was opened with.

librados tells of most options that change while it runs. Those that may not be changed at run time
(``rbd_default_data_pool``, ``rbd_journal_pool``, ``rbd_cache_policy``, …) it ignores, and only a new connection has
them. Whether anything is configured anew at all, one command to a monitor tells (0.3 ms); what it comes to for this
client, a connection that is opened for that alone (7 ms).
"""

import errno
import json
from collections.abc import Callable, Mapping
from hashlib import sha256

import rados

from rbd_connect.ceph.workarounds.admin_socket import AdminSocket

from .pinned_options import LIBRBD

__all__ = ["MonitorConfig"]

Values = Mapping[str, object]

_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP})


class MonitorConfig:
    """What the monitors configured for a connection when it was opened. For one thread, but for ``has_changed``."""

    def __init__(
        self, connection: rados.Rados, admin_socket: AdminSocket, values_anew: Callable[[], Values | None]
    ) -> None:
        """``values_anew`` gives what monitors set on a connection that is opened now; it raises rados.Error."""
        self._connection = connection
        self._admin_socket = admin_socket
        self._values_anew = values_anew
        self._values = admin_socket.set_by_monitors()
        self._seen: bytes | None = None
        self._has_changed = False

    def has_changed(self) -> bool:
        """Say what the last review found."""
        return self._has_changed

    def review(self) -> None:
        """Find out. It blocks for as long as the monitors do; where they do not answer, nothing is found."""
        try:
            seen = self._ask()
            if seen is None or seen != self._seen:
                self._has_changed = self._has_changed or self._differs(self._values_anew())
            self._seen = seen
        except rados.Error:
            return

    def _ask(self) -> bytes | None:
        """Give what is the same for as long as nothing is configured anew (``config dump``); None where it is refused.

        Raises rados.Error where nobody answers. It needs the caps ``mon 'allow r'``, which ``profile rbd`` has.
        """
        command = json.dumps({"prefix": "config dump", "format": "json"})
        result, output, _ = self._connection.mon_command(command, b"")
        if -result in _REFUSALS:
            return None
        if result:
            raise rados.OSError("config dump", errno=-result)
        return sha256(output).digest()

    def _differs(self, anew: Values | None) -> bool:
        """Compare librbd's options with those at first, which are pinned, and the others with those that librados
        follows.
        """
        now = self._admin_socket.set_by_monitors()
        if anew is None or now is None or self._values is None:
            return False
        return _of_librbd(anew) != _of_librbd(self._values) or _others(anew) != _others(now)


def _of_librbd(values: Values) -> Values:
    return {name: value for name, value in values.items() if name.startswith(LIBRBD)}


def _others(values: Values) -> Values:
    return {name: value for name, value in values.items() if not name.startswith(LIBRBD)}
