"""Certificates in files, and calls by TLS over each listener."""

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
import trustme

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest

from .clients import grpc_outcome, grpc_stubs
from .server import Server
from .wire import Request, http1_bytes, read_http1, valid

__all__ = ["FREE", "HOST", "Files", "Pair", "by_grpc", "by_http", "handshaken", "shown_certificate"]

HOST = "localhost"
FREE = ("--listen-http", f"{HOST}:0", "--listen-grpc", f"{HOST}:0")

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Files:
    """An authority, and a certificate of the server's in files, which can be renewed."""

    folder: Path
    authority: trustme.CA

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        """Make an authority, and a certificate of it, in a folder."""
        files = cls(folder, trustme.CA())
        files.authority.cert_pem.write_to_path(files.ca)
        files.renew()
        return files

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        return self.folder / "server.key"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def flags(self) -> tuple[str, ...]:
        return (f"--tls-certificate={self.certificate}", f"--tls-key={self.key}")

    def renew(self) -> bytes:
        """Put a new certificate in the place of the old, as tools that renew them do; give it, PEM."""
        issued = self.authority.issue_cert(HOST)
        new = self.folder / "new"
        new.touch(0o600)
        issued.private_key_pem.write_to_path(new)
        new.rename(self.key)
        issued.cert_chain_pems[0].write_to_path(new)
        new.rename(self.certificate)
        return issued.cert_chain_pems[0].bytes()

    def client(self, name: str) -> Pair:
        """Make a client's certificate; give its file and its key's."""
        issued = self.authority.issue_cert(f"{name}@example.com")
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(paths[0])
        issued.private_key_pem.write_to_path(paths[1])
        return paths


def by_http(server: Server, files: Files, pair: Pair | None = None, request: Request | None = None) -> str:
    """Call, and give the reason of the error that comes back. Raises OSError where there is no connection."""
    context = ssl.create_default_context(cafile=files.ca)
    if pair:
        context.load_cert_chain(*pair)
    with handshaken(server.address, context) as connection:
        connection.sendall(http1_bytes(request or valid("connect-json")))
        return read_http1(connection).reason


def by_grpc(
    server: Server,
    files: Files,
    pair: Pair | None = None,
    message: CreateImageSnapshotRequest | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> str:
    """Call, and give the reason of the error that comes back. Raises ConnectionError where there is no connection."""
    certificate, key = (path.read_bytes() for path in pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes(), key, certificate)
    with grpc.secure_channel(server.grpc_address, credentials) as channel:
        try:
            grpc_stubs().StorageServiceStub(channel).CreateImageSnapshot(
                message or CreateImageSnapshotRequest(), metadata=headers
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError from error
            return grpc_outcome(error).reason
        raise AssertionError


def handshaken(address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    host, _, port = address.rpartition(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), timeout=20), server_hostname=HOST)


def shown_certificate(address: str) -> bytes:
    """What a listener shows to whoever connects now, PEM."""
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port))).encode()
