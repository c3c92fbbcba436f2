"""The server for HTTP: its listeners, for calls and for probes alone, and uvicorn's settings for their connections."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.server import ServerState

from rbd_connect.config.settings import Settings
from rbd_connect.config.types import Address
from rbd_connect.transport.peer import Peer, at_the_end_of
from rbd_connect.transport.tls import Tls
from rbd_connect.transport.trusted_proxies import Proxies

from .listener import HttpListener
from .parser import MAX_HEADER_BYTES
from .protocol import Serving

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application

__all__ = ["HttpServer"]

# Enough for all that probe a server, and none of those for calls.
_PROBE_CONNECTIONS = 64


class HttpServer:
    """Listeners for HTTP. uvicorn's server opens and closes it as one of its own."""

    def __init__(
        self, app: "ASGI3Application", settings: Settings, tls: Tls | None, *, is_draining: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._is_draining = is_draining
        self.config = _config(app, settings, tls)
        self.state = ServerState()
        self.drain_delay = settings.listen.drain_delay
        self._proxies = Proxies(settings.proxies)
        self._listeners: list[HttpListener] = []
        self._probes: HttpListener | None = None
        self._probe_state = ServerState()

    def listen(self, sockets: Sequence[socket.socket], *, size: int, grpc_address: Address) -> None:
        """Take sockets for calls."""
        serving = Serving(self.config, self.state, self._settings.limits, str(grpc_address), self._is_draining)
        self._listeners.append(HttpListener(sockets, serving, self._proxies.introduce, size=size))

    def listen_for_probes(self, sockets: Sequence[socket.socket], app: "ASGI3Application") -> None:
        """Take sockets for probes alone, which is plain HTTP, and open for as long as the process lives."""
        config = _config(app, self._settings, None)
        serving = Serving(
            config, self._probe_state, self._settings.limits, str(self._settings.listen.grpc), self._is_draining
        )
        self._probes = HttpListener(sockets, serving, _introduce, size=_PROBE_CONNECTIONS)

    def start(self) -> None:
        for listener in self._listeners:
            listener.start()
        if self._probes is not None:
            self._probes.start()

    def close(self) -> None:
        """Take no more calls."""
        for listener in self._listeners:
            listener.close()

    async def wait_closed(self) -> None:
        await asyncio.gather(*(listener.wait_closed() for listener in self._listeners))

    async def end_probes(self) -> None:
        """Answer no more probes."""
        if self._probes is not None:
            self._probes.close()
            await self._probes.wait_closed()
        for connection in list(self._probe_state.connections):
            connection.shutdown()


async def _introduce(connection: socket.socket) -> Peer:
    return at_the_end_of(connection)


def _config(app: "ASGI3Application", settings: Settings, tls: Tls | None) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_graceful_shutdown=settings.listen.drain_timeout,
        ssl_context_factory=(lambda _config, _default: tls.http_context()) if tls else None,
    )
    config.load()
    return config
