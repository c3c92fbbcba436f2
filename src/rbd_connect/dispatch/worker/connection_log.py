"""What the log says of a scope's connection: once that it cannot be made, and once that it is there again."""

import logging

from rbd_connect.ceph.errnos import NotConnectedError

__all__ = ["ConnectionLog"]

_log = logging.getLogger(__name__)


class ConnectionLog:
    """Those of one scope. A cause that was told is told again only when another came between, or a success."""

    def __init__(self, scope: str, client: str) -> None:
        self._scope = scope
        self._client = client
        self._told: str | None = None

    def failed(self, error: Exception | str, *, although: str = "") -> None:
        """Note that connecting failed. ``although`` says why it was tried, where another connection goes on."""
        cause = error.cause if isinstance(error, NotConnectedError) else str(error)
        if cause == self._told:
            return
        self._told = cause
        goes_on = f" anew ({although}; the old connection is used on)" if although else ""
        reason = f" ({error.reason})" if isinstance(error, NotConnectedError) else ""
        _log.error("scope %s: cannot connect to Ceph as %s%s: %s%s", self._scope, self._client, goes_on, cause, reason)

    def succeeded(self) -> None:
        """Note that there is a connection."""
        if self._told is not None:
            self._told = None
            _log.info("scope %s: connected to Ceph as %s", self._scope, self._client)
