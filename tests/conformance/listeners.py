"""The project's own listeners, as the suite asks for them: gRPC over HTTP/2, or Connect and gRPC-Web over HTTP/1.1."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from rbd_connect.config.settings import LimitSettings, Settings, TlsSettings
from rbd_connect.config.types import Address
from rbd_connect.dispatch.dispatcher import Dispatcher
from rbd_connect.dispatch.readiness import Readiness
from rbd_connect.transport.grpc.server import GrpcServer
from rbd_connect.transport.http.app import application
from rbd_connect.transport.http.probes import Probes
from rbd_connect.transport.http.server import HttpServer
from rbd_connect.transport.listening import bind, connections_for_each
from rbd_connect.transport.tls import Tls
from rbd_connect.transport.trusted_proxies import Proxies

from .front import ConformanceFront
from .gen.config_pb2 import PROTOCOL_GRPC
from .gen.server_compat_pb2 import ServerCompatRequest
from .wire import noting_headers

__all__ = ["listening"]

_ANY_PORT = Address("127.0.0.1", 0)


def listening(request: ServerCompatRequest, folder: Path) -> AbstractAsyncContextManager[Address]:
    """Listen while inside, and give the address. The files for TLS are written to ``folder``."""
    settings = _settings(request, folder)
    tls = Tls(settings.tls) if request.use_tls else None
    listen = _grpc if request.protocol == PROTOCOL_GRPC else _http
    return listen(settings, tls)


def _settings(request: ServerCompatRequest, folder: Path) -> Settings:
    return Settings(
        limits=LimitSettings(message_bytes=request.message_receive_limit),
        tls=_tls_settings(request, folder) if request.use_tls else TlsSettings(),
        scopes={},
    )


def _tls_settings(request: ServerCompatRequest, folder: Path) -> TlsSettings:
    certificate, key, client_ca = (folder / name for name in ("certificate.pem", "key.pem", "client_ca.pem"))
    key.touch(mode=0o600)
    certificate.write_bytes(request.server_creds.cert)
    key.write_bytes(request.server_creds.key)
    if not request.client_tls_cert:
        return TlsSettings(certificate=certificate, key=key)
    client_ca.write_bytes(request.client_tls_cert)
    return TlsSettings(certificate=certificate, key=key, client_ca=client_ca)


@asynccontextmanager
async def _grpc(settings: Settings, tls: Tls | None) -> AsyncIterator[Address]:
    _, connections = connections_for_each(settings.limits)
    server = GrpcServer(ConformanceFront(), Readiness(Dispatcher(settings)), settings, tls, connections=connections)
    yield await server.start(_ANY_PORT)
    await server.drain(0)


@asynccontextmanager
async def _http(settings: Settings, tls: Tls | None) -> AsyncIterator[Address]:
    front = ConformanceFront()
    probes = Probes(Readiness(Dispatcher(settings)), front, Proxies(settings.proxies))
    app = application(front, probes, settings, grpc_address=str(settings.listen.grpc))
    server = HttpServer(noting_headers(app), settings, tls, is_draining=lambda: False)
    sockets, address = bind("http", _ANY_PORT)
    connections, _ = connections_for_each(settings.limits)
    server.listen(sockets, size=connections, grpc_address=settings.listen.grpc)
    server.start()
    yield address
    server.close()
    await server.wait_closed()
