"""The server: a listener on an event loop; start, serve, drain, and close Ceph last."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from .calls import Calls
from .cluster import Cluster
from .errors import StartError
from .http import application
from .service import StorageService
from .settings import Address, Settings

__all__ = ["ListenError", "address_of", "bind", "serve"]

_log = logging.getLogger(__name__)


class ListenError(StartError):
    """An address cannot be listened on. Its text is one line."""


def bind(address: Address) -> socket.socket:
    """Open a listening socket. Raises ListenError."""
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(address, family=family)
    except OSError as error:
        # create_server adds to an error's text, and getaddrinfo's numbers are its own.
        problem = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ListenError(
            f"listen.http: cannot listen on {address}: {problem}. Choose another address with --listen-http."
        ) from error


def address_of(listener: socket.socket) -> Address:
    """Say where a socket listens; its port is the one that the system chose, where it was 0."""
    host, port, *_ = listener.getsockname()
    return Address(host, port)


def serve(settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM. Calls in flight are finished, then the connections to Ceph are closed."""
    calls = Calls(threads=settings.ceph.threads)
    clusters = {scope: Cluster(scope, of_scope, settings.ceph) for scope, of_scope in settings.scopes.items()}
    service = StorageService(clusters, calls, settings.usage)
    app = application(service, require_protocol_version=settings.connect.require_protocol_version)
    config = uvicorn.Config(app, http="h11", log_config=None, access_log=False, server_header=False)
    try:
        asyncio.run(_Server(config, on_ready).serve(sockets=[listener]))
    finally:
        calls.close()
        for cluster in clusters.values():
            cluster.close()
    _log.info("stopped")


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready, and ends by returning where uvicorn raises the signal anew."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
