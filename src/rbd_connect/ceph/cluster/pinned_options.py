"""librbd's options, which stay as they are for as long as a connection lasts.

Where the monitors give a client another value (``ceph config set client rbd_…``), librbd is told so for each image that
is open; and where one of them is closed in that moment, everything in the process waits for ever
(https://tracker.ceph.com/issues/62832). What is set on the connection itself goes before what monitors say, so that
for librbd nothing changes, and it is told nothing. Who wants the new values connects anew.
"""

from contextlib import suppress

import rados

from rbd_connect.ceph.workarounds.admin_socket import AdminSocket

__all__ = ["LIBRBD", "PinnedOptions"]

LIBRBD = "rbd_"


class PinnedOptions:
    """The options of a connection that is used for no image yet."""

    def __init__(self, connection: rados.Rados, admin_socket: AdminSocket) -> None:
        """Set each to what it is (``rados_conf_set``)."""
        self._admin_socket = admin_socket
        self._by_monitors = admin_socket.set_by_monitors(LIBRBD)
        for name in admin_socket.options(LIBRBD):
            value = connection.conf_get(name)
            if value is not None:
                with suppress(rados.Error):  # it cannot be changed at all while a client runs
                    connection.conf_set(name, value)

    def has_changed(self) -> bool:
        """Say whether the monitors set others since, or other values."""
        now = self._admin_socket.set_by_monitors(LIBRBD)
        return now is not None and self._by_monitors is not None and now != self._by_monitors
