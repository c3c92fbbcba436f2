"""The server: both listeners on one event loop; start, serve, drain, and close Ceph last."""

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from rbd_connect.auth.policy import Policy
from rbd_connect.common import logging as log
from rbd_connect.config.settings import Settings
from rbd_connect.config.types import Address, is_loopback
from rbd_connect.dispatch.dispatcher import Dispatcher
from rbd_connect.dispatch.readiness import Readiness
from rbd_connect.rpc.audit import Audit
from rbd_connect.rpc.pipeline import Pipeline
from rbd_connect.rpc.service import StorageService
from rbd_connect.transport.grpc.server import GrpcServer
from rbd_connect.transport.http.app import application
from rbd_connect.transport.http.probes import Probes
from rbd_connect.transport.http.server import HttpServer
from rbd_connect.transport.listening import (
    ListenError,
    allow_many_connections,
    bind,
    close_listener,
    connections_for_each,
)
from rbd_connect.transport.tls import Tls
from rbd_connect.transport.trusted_proxies import Proxies

from .key_check import check_keys
from .pool_review import PoolReview
from .reload import Source, reloading

__all__ = ["Listening", "allow_many_connections", "serve"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens, with the ports that were chosen where they were 0."""

    http: Address
    grpc: Address
    probes: Address | None
    with_tls: bool


def serve(settings: Settings, on_ready: Callable[[Listening], None], source: Source | None = None) -> None:
    """Serve until SIGINT or SIGTERM; then finish the calls in flight, and close the connections to Ceph.

    Calls that have not ended when [listen] drain_timeout has passed are left, and the process ends with status 1. A
    second signal ends it at once. With a source, SIGHUP has read anew what can be changed without a restart. Raises
    StartError.
    """
    check_keys(settings)
    allow_many_connections()
    asyncio.run(_serve(settings, on_ready, source))
    _log.info("stopped")
    log.flush()


async def _serve(settings: Settings, on_ready: Callable[[Listening], None], source: Source | None) -> None:
    calls = Dispatcher(settings)
    policy = Policy(settings)
    pipeline = Pipeline(StorageService(calls, settings.usage), policy, Audit(settings.audit.file))
    readiness = Readiness(calls)
    tls = Tls(settings.tls) if settings.tls.certificate else None
    http_size, grpc_size = connections_for_each(settings.limits)
    probes = Probes(readiness, pipeline, Proxies(settings.proxies))
    grpc_server = GrpcServer(pipeline, readiness, settings, tls, connections=grpc_size)
    with _placed_errors(settings), ExitStack() as stack:
        http_sockets, http_address = _bind("http", settings.listen.http, stack)
        probe_sockets, probes_address = _bind("probes", settings.listen.probes, stack)
        grpc_address = await grpc_server.start(settings.listen.grpc)
        stack.pop_all()
    app = application(pipeline, probes, settings, grpc_address=str(grpc_address))
    http_server = HttpServer(app, settings, tls, is_draining=lambda: readiness.is_draining)
    http_server.listen(http_sockets, size=http_size, grpc_address=grpc_address)
    http_server.listen_for_probes(probe_sockets, probes.alone())
    listening = Listening(http_address or settings.listen.http, grpc_address, probes_address, with_tls=tls is not None)
    _warn(settings)
    server = _Server(http_server, grpc_server, readiness, lambda: on_ready(listening))
    await calls.start()
    _on_signal(signal.SIGUSR1, lambda: _log_in_flight(pipeline, calls))
    review = PoolReview(calls)
    review.begin(settings)
    async with reloading(policy, settings, source, review.begin) if source else nullcontext():
        await server.serve()
        review.stop()
        left = await calls.drain(server.drained_by - time.monotonic())
    pipeline.close()
    if left:
        # A call inside librbd cannot be cancelled, and a thread that never ends would keep the process.
        _log.error("%d calls did not end in %d s and are left", left, settings.listen.drain_timeout)
        logging.shutdown()
        os._exit(1)
    await calls.stop()


def _bind(name: str, address: Address | None, stack: ExitStack) -> tuple[list[socket.socket], Address | None]:
    """Listen where that is set, until ``stack`` ends. Raises ListenError."""
    if address is None:
        return [], None
    sockets, bound = bind(name, address)
    for listener in sockets:
        stack.callback(close_listener, listener)
    return sockets, bound


def _on_signal(number: signal.Signals, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have something done on the event loop whenever a signal comes."""
    acting: set[asyncio.Task[None]] = set()

    def begin() -> None:
        task = asyncio.create_task(act())
        acting.add(task)
        task.add_done_callback(acting.discard)

    asyncio.get_running_loop().add_signal_handler(number, begin)


async def _log_in_flight(pipeline: Pipeline, calls: Dispatcher) -> None:
    """Say in the log what the server is at."""
    await calls.look()
    pipeline.log_in_flight()
    for line in calls.describe():
        _log.info("in flight: %s", line)


@contextmanager
def _placed_errors(settings: Settings) -> Iterator[None]:
    """Have errors say where the address was given."""
    try:
        yield
    except ListenError as error:
        error.place = settings.origins.place("listen", error.listener)
        raise


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


def _collect_garbage_less() -> None:
    """Leave out what was made at the start, and collect the rest seldom: that takes 70 ms with 256 calls in flight."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


class _Server(uvicorn.Server):
    """uvicorn's server, with gRPC's beside it: both are ready before it says so, and both drain at the same time.

    It ends by returning, where uvicorn raises the signal anew, and at once at the second signal of either kind.
    """

    def __init__(
        self, http_server: HttpServer, grpc_server: GrpcServer, readiness: Readiness, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(http_server.config)
        self._http_server = http_server
        self._grpc_server = grpc_server
        self._readiness = readiness
        self._on_ready = on_ready
        self.server_state = http_server.state
        self.drained_by = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - they are bound
        self.servers = [self._http_server]  # type: ignore[list-item] # it is closed as asyncio's servers are
        self._http_server.start()
        self.started = True
        _collect_garbage_less()

    async def main_loop(self) -> None:
        """Serve until told to stop, and then for as long as those who send calls need to hear of it."""
        self._on_ready()  # not before: uvicorn ends without draining where it is told to stop during its startup
        await super().main_loop()
        self._readiness.drain()
        latest = time.monotonic() + self._http_server.drain_delay
        while (remaining := latest - time.monotonic()) > 0:
            await self.on_tick(0)  # the time of day, in the header Date
            await asyncio.sleep(min(remaining, 1))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        limit = float(self.config.timeout_graceful_shutdown or 0)
        self.drained_by = time.monotonic() + limit
        self._http_server.close()
        await self._http_server.wait_closed()  # or uvicorn would not know of connections that have just come
        await asyncio.gather(self._grpc_server.drain(limit), super().shutdown(sockets))
        await self._http_server.end_probes()

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
