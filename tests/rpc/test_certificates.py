"""Certificates that must not come into use, and sessions that must not outlive what let them in."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from rbd_connect.devcluster import DevCluster
from support.server import Server, run_server, start_and_fail
from support.tls import FREE, HOST, Files, by_grpc, by_http, shown_certificate
from support.tools import wait_until, write_scope
from support.wire import http1_bytes, read_http1, valid

DAY = timedelta(days=1)
ALPN = {"http": ["http/1.1"], "grpc": ["h2"]}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path, trustme.CA())
    files.authority.cert_pem.write_to_path(files.ca)
    files.renew()
    return files


@pytest.fixture
def server(cluster: DevCluster, files: Files) -> Iterator[Server]:
    with run_server(files.folder, write_scope("test", cluster), *FREE, *files.flags) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def put(files: Files, issued: trustme.LeafCert, chain: list[trustme.Blob] | None = None) -> None:
    files.key.touch(0o600)
    issued.private_key_pem.write_to_path(files.key)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in chain or issued.cert_chain_pems))


def expired(files: Files) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return files.authority.issue_cert(HOST, not_before=now - 2 * DAY, not_after=now - DAY)


def not_yet_valid(files: Files) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return files.authority.issue_cert(HOST, not_before=now + DAY, not_after=now + 2 * DAY)


WRONG: dict[str, tuple[Callable[[Files], trustme.LeafCert], str]] = {
    "expired": (expired, "has expired, at"),
    "not yet valid": (not_yet_valid, "is not valid before"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_that_is_not_valid_replaces_none_that_is(server: Server, files: Files, name: str) -> None:
    make, problem = WRONG[name]
    addresses = (server.address, server.grpc_address)
    before = shown_certificate(server.address)
    put(files, make(files))
    for address in addresses:
        assert shown_certificate(address) == before
    assert (by_http(server, files), by_grpc(server, files)) == ("SCOPE_NOT_FOUND", "INVALID_NAME")
    wait_until(lambda: problem in server.log.read_text())
    assert server.log.read_text().count("stays in use") == 1
    renewed = files.renew()
    for address in addresses:
        assert shown_certificate(address) == renewed


def test_one_that_becomes_valid_is_used_then(server: Server, files: Files) -> None:
    """Though its file does not change any more."""
    begins = datetime.now(UTC) + timedelta(seconds=4)
    issued = files.authority.issue_cert(HOST, not_before=begins, not_after=begins + DAY)
    put(files, issued)
    assert shown_certificate(server.address) != issued.cert_chain_pems[0].bytes()
    for address in (server.address, server.grpc_address):
        wait_until(lambda each=address: shown_certificate(each) == issued.cert_chain_pems[0].bytes(), 20)  # type: ignore[misc]


@pytest.mark.parametrize("name", WRONG)
def test_at_the_start_it_is_told(cluster: DevCluster, files: Files, name: str) -> None:
    make, problem = WRONG[name]
    put(files, make(files))
    with run_server(files.folder, write_scope("test", cluster), *FREE, *files.flags) as server:
        assert f"tls: the certificate in {files.certificate} {problem}" in server.log.read_text()
        renewed = files.renew()
        for address in (server.address, server.grpc_address):
            assert shown_certificate(address) == renewed


class TestTheOrder:
    @pytest.fixture
    def chain(self, files: Files) -> tuple[trustme.LeafCert, list[trustme.Blob]]:
        """A certificate, and two authorities between it and the one that clients know."""
        between = files.authority.create_child_ca().create_child_ca()
        issued = between.issue_cert(HOST)
        assert len(issued.cert_chain_pems) == 3
        return issued, issued.cert_chain_pems

    def test_that_is_right_is_used(
        self, server: Server, files: Files, chain: tuple[trustme.LeafCert, list[trustme.Blob]]
    ) -> None:
        put(files, *chain)
        assert (by_http(server, files), by_grpc(server, files)) == ("SCOPE_NOT_FOUND", "INVALID_NAME")
        assert "order" not in server.log.read_text()

    def test_that_is_wrong_is_told_as_that(
        self, server: Server, files: Files, chain: tuple[trustme.LeafCert, list[trustme.Blob]]
    ) -> None:
        issued, (own, first, second) = chain
        before = shown_certificate(server.address)
        for wrong in ([first, own, second], [second, first, own]):
            put(files, issued, wrong)
            assert shown_certificate(server.address) == before
            assert by_grpc(server, files) == "INVALID_NAME"
        told = f"the certificates in {files.certificate} are in the wrong order: the server's own must be the first"
        wait_until(lambda: told in server.log.read_text())
        put(files, issued, [own, second, first])
        assert by_http(server, files) == "SCOPE_NOT_FOUND"
        wait_until(lambda: "each must be followed by that of its authority\n" in server.log.read_text())

    def test_that_is_wrong_at_the_start(
        self, cluster: DevCluster, files: Files, chain: tuple[trustme.LeafCert, list[trustme.Blob]]
    ) -> None:
        issued, (own, first, second) = chain
        put(files, issued, [first, second, own])
        failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", *FREE, *files.flags)
        assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
        assert "are in the wrong order: the server's own must be the first" in failed.stderr


def test_a_pipe_in_the_files_place_holds_up_nobody(server: Server, files: Files) -> None:

    before = shown_certificate(server.address)
    files.key.unlink()
    os.mkfifo(files.key)
    for address in (server.address, server.grpc_address):
        assert shown_certificate(address) == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("listener", ["http", "grpc"])
class TestSessions:
    """Of a client whose authority is replaced while the server runs."""

    @pytest.fixture
    def mutual(self, cluster: DevCluster, files: Files) -> Iterator[Server]:
        flags = (*FREE, *files.flags, f"--tls-client-ca={files.folder / 'clients.pem'}")
        self.trust(files, files.authority)
        with run_server(files.folder, write_scope("test", cluster), *flags) as server:
            yield server
            assert "Traceback" not in server.log.read_text()

    @staticmethod
    def trust(files: Files, authority: trustme.CA) -> None:
        new = files.folder / "new"
        authority.cert_pem.write_to_path(new)
        new.rename(files.folder / "clients.pem")

    @staticmethod
    def is_let_in(address: str, context: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        """Connect, with a session if there is one. Give the session that can be resumed; None where it is refused."""
        host, _, port = address.rpartition(":")

        try:
            with context.wrap_socket(
                socket.create_connection((host, int(port)), timeout=20), server_hostname=HOST, session=session
            ) as connection:
                if connection.selected_alpn_protocol() == "h2":
                    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
                    if not connection.recv(9):
                        return None
                else:
                    connection.sendall(http1_bytes(valid("connect-json")))
                    read_http1(connection)
                return connection.session
        except OSError:
            return None

    def test_do_not_outlive_it(self, mutual: Server, files: Files, listener: str, version: ssl.TLSVersion) -> None:
        address = mutual.address if listener == "http" else mutual.grpc_address
        context = ssl.create_default_context(cafile=files.ca)
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(ALPN[listener])
        context.load_cert_chain(*files.client("old"))
        session = self.is_let_in(address, context, None)
        assert session is not None
        assert self.is_let_in(address, context, session) is not None
        self.trust(files, trustme.CA())
        for _ in range(3):
            assert self.is_let_in(address, context, session) is None
            assert self.is_let_in(address, context, None) is None
        self.trust(files, files.authority)
        assert self.is_let_in(address, context, session) is not None
