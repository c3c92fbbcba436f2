"""The server: both listeners on one event loop; start, serve, drain, and close Ceph last."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from . import log
from .access.policy import Policy
from .audit import Audit
from .calls import Calls
from .errors import ListenError
from .front import Front
from .readiness import Readiness
from .reload import Source, reloading
from .service import StorageService
from .setting_types import Address, is_loopback
from .settings import Settings
from .transports.grpc_server import GrpcServer
from .transports.http import application
from .transports.http_connection import MAX_HEADER_BYTES, connection_class
from .transports.http_probes import Probes
from .transports.tls import Tls

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application

__all__ = ["Listening", "allow_many_connections", "bind", "serve"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens, with the ports that were chosen where they were 0."""

    http: Address
    grpc: Address
    with_tls: bool


def serve(settings: Settings, on_ready: Callable[[Listening], None], source: Source | None = None) -> None:
    """Serve until SIGINT or SIGTERM; then finish the calls in flight, and close the connections to Ceph.

    Calls that have not ended when [listen] drain_timeout has passed are left, and the process ends with status 1. A
    second signal ends it at once. With a source, SIGHUP has read anew what can be changed without a restart. Raises
    StartError.
    """
    allow_many_connections()
    asyncio.run(_serve(settings, on_ready, source))
    _log.info("stopped")
    log.flush()


def allow_many_connections() -> None:
    """Raise the number of open files to what is permitted: the usual 1024 is soon used up by connections."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a service manager may forbid the system call
        _log.warning("the number of open files stays as it is, since it may not be raised: %s", error)


async def _serve(settings: Settings, on_ready: Callable[[Listening], None], source: Source | None) -> None:
    calls = Calls(settings)
    policy = Policy(settings)
    front = Front(StorageService(calls, settings.usage), policy, Audit(settings.audit.file))
    tls = Tls(settings.tls) if settings.tls.certificate else None
    listener = bind(settings.listen.http)
    grpc_server = GrpcServer(front, settings, tls)
    grpc_address = await grpc_server.start(settings.listen.grpc)
    app = application(front, Probes(Readiness(calls), policy), settings, grpc_address=str(grpc_address))
    http_address = Address(settings.listen.http.host, listener.getsockname()[1])
    listening = Listening(http_address, grpc_address, with_tls=tls is not None)
    _warn(settings)
    server = _Server(_config(app, settings, tls, grpc_address), grpc_server, lambda: on_ready(listening))
    await calls.start()
    async with reloading(policy, settings, source) if source else nullcontext():
        await server.serve(sockets=[listener])
        left = await calls.drain(server.drained_by - time.monotonic())
    front.close()
    if left:
        # A call inside librbd cannot be cancelled, and a thread that never ends would keep the process.
        _log.error("%d calls did not end in %d s and are left", left, settings.listen.drain_timeout)
        logging.shutdown()
        os._exit(1)
    await calls.stop()


def _config(app: "ASGI3Application", settings: Settings, tls: Tls | None, grpc_address: Address) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=connection_class(settings.limits, str(grpc_address)),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=settings.limits.idle_timeout,
        timeout_graceful_shutdown=settings.listen.drain_timeout,
        ssl_context_factory=(lambda _config, _default: tls.http_context()) if tls else None,
    )


def _warn(settings: Settings) -> None:
    """Say in the log what is allowed, and may not be meant."""
    hosts = (settings.listen.http.host, settings.listen.grpc.host)
    if all(map(is_loopback, hosts)):
        return
    if not settings.with_authentication:
        _log.warning("insecure: everybody who can reach the server may do everything")
    elif settings.tls.certificate is None and settings.insecure:
        _log.warning("insecure: credentials come over the network in clear")
    elif settings.tls.certificate is None:
        _log.warning("without TLS, credentials are taken from this machine only: set tls.certificate and tls.key")


def bind(address: Address) -> socket.socket:
    """Make a listening socket that says it is TCP's: asyncio sets TCP_NODELAY on connections of no other.

    Without it, the second write of an answer waits for the client's delayed acknowledgement of the first: 40 ms.

    Raises ListenError.
    """
    try:
        family, kind, protocol, _, found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found)
    except OSError as error:
        raise ListenError("http", address, str(error.strerror)) from error
    return listener


def _collect_garbage_less() -> None:
    """Leave out what was made at the start, and collect the rest seldom: that takes 70 ms with 256 calls in flight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


class _Server(uvicorn.Server):
    """uvicorn's server, with gRPC's beside it: both are ready before it says so, and both drain at the same time.

    It ends by returning, where uvicorn raises the signal anew, and at once at the second signal of either kind.
    """

    def __init__(self, config: uvicorn.Config, grpc_server: GrpcServer, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._grpc_server = grpc_server
        self._on_ready = on_ready
        self.drained_by = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _collect_garbage_less()
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        limit = float(self.config.timeout_graceful_shutdown or 0)
        self.drained_by = time.monotonic() + limit
        await asyncio.gather(self._grpc_server.drain(limit), super().shutdown(sockets))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
