"""Certificates that must not come into use, and sessions that must not outlive what let them in."""

import json
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.server import Server, run_server, start_and_fail
from support.tls import FREE, HOST, Files, by_grpc, by_http, shown_certificate
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import http1_bytes, read_http1, valid

DAY = timedelta(days=1)
ALPN = {"http": ["http/1.1"], "grpc": ["h2"]}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.made_in(tmp_path)


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


def told(server: Server, text: str) -> list[str]:
    """The lines of the log with a text, without their time."""
    return [line.split(" ", 2)[2] for line in server.log.read_text().splitlines() if text in line]


class TestItsEnd:
    """What has expired is an error, and what does so within 14 days a warning: with file, date and remedy."""

    REMEDY = "it is used from the next handshake on"

    def test_of_the_servers(self, cluster: DevCluster, files: Files) -> None:
        ends = (datetime.now(UTC) + 5.5 * DAY).replace(microsecond=0)
        put(files, files.authority.issue_cert(HOST, not_after=ends))
        warning = (
            f"WARNING rbd_connect.transport.tls: tls: the certificate in {files.certificate} expires in 5 days, "
            f"at {ends:%Y-%m-%d %H:%M:%S} UTC. Then clients refuse it. Put a renewed one there: {self.REMEDY}"
        )
        with run_server(files.folder, write_scope("test", cluster), *FREE, *files.flags) as server:
            for _ in range(3):
                by_http(server, files)
            assert told(server, "expires") == [warning]
            files.renew()
            by_http(server, files)
            put(files, files.authority.issue_cert(HOST, not_after=ends))
            by_grpc(server, files)
            assert told(server, "expires") == [warning, warning]

    def test_that_has_been_is_an_error(self, cluster: DevCluster, files: Files) -> None:
        issued = expired(files)
        put(files, issued)
        with run_server(files.folder, write_scope("test", cluster), *FREE, *files.flags) as server:
            (line,) = told(server, "has expired")
        assert line.startswith(f"ERROR rbd_connect.transport.tls: tls: the certificate in {files.certificate} has exp")
        assert line.endswith(f" UTC, and clients refuse it. Put a renewed one there: {self.REMEDY}")

    @pytest.mark.parametrize(
        ("left", "problem"),
        [
            (-DAY, "ERROR rbd_connect.transport.tls: tls: the authority 'O=ours' in {} has expired, at"),
            (DAY, "WARNING rbd_connect.transport.tls: tls: the authority 'O=ours' in {} expires within two days, at"),
            (15 * DAY, ""),
        ],
    )
    def test_of_the_clients_authority(self, cluster: DevCluster, files: Files, left: timedelta, problem: str) -> None:
        clients = files.folder / "clients.pem"
        clients.write_bytes(files.authority.cert_pem.bytes() + authority("ours", datetime.now(UTC) + left))
        flags = (*FREE, *files.flags, f"--tls-client-ca={clients}")
        with run_server(files.folder, write_scope("test", cluster), *flags) as server:
            lines = told(server, str(clients))
        assert [line.startswith(problem.format(clients)) for line in lines] == ([True] if problem else [])
        assert all(line.endswith(f"Put the one that follows it there: {self.REMEDY}") for line in lines)

    def test_of_an_issuers_authority_and_of_tokens(self, cluster: DevCluster, tmp_path: Path) -> None:
        """At the start and at each reload."""
        (tmp_path / "sso.pem").write_bytes(authority("sso", datetime.now(UTC) + 3 * DAY))
        tokens = Tokens(tmp_path)
        tokens.new("long", "--days", "30")
        tokens.new("short", "--days", "10")  # it was meant so
        lines = [json.loads(line) for line in tokens.path.read_text().splitlines()]
        for entry in lines:
            if entry["subject"] == "long":
                entry["created"], entry["expires"] = "2026-01-01T00:00:00Z", str(datetime.now(UTC) + 9 * DAY)
        tokens.path.write_text("".join(f"{json.dumps(entry)}\n" for entry in lines))
        issuer = '[issuers.sso]\nissuer = "https://sso.example.com"\naudience = "x"\njwks_ca = "sso.pem"\n'
        settings = tokens.setting + issuer + write_scope("test", cluster) + grant("long", ["*"])
        with run_server(tmp_path, settings) as server:
            at_the_start = (told(server, "tokens expire within 14 days"), told(server, "'O=sso'"))
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: len(told(server, "tokens expire within 14 days")) == 2)
        (ending,), (authorities,) = at_the_start
        assert f"{server.config}, line 1: auth.tokens: tokens expire within 14 days: " in ending
        assert " of long at " in ending
        assert " of short " not in ending
        assert ending.endswith(" UTC. `rbd-connect token new` makes others")
        assert f"line 5: issuers.sso.jwks_ca: the authority 'O=sso' in {tmp_path}/sso.pem expires in 2 d" in authorities


def authority(name: str, ends: datetime) -> bytes:
    """Make a certificate of an authority that ends then, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


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
