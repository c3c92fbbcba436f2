"""TLS on both listeners: whom it lets in, and that renewed certificates are used without a restart."""

import json
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from rbd_connect.devcluster import DevCluster
from support.clients import BUF, PROTO
from support.server import PROCEDURE, Server, run_server, start_and_fail
from support.tls import FREE, HOST, Files, by_grpc, by_http, handshaken, shown_certificate
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import http1_bytes, valid


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files.made_in(tmp_path)


@pytest.fixture
def server(cluster: DevCluster, files: Files) -> Iterator[Server]:
    with run_server(files.folder, write_scope("test", cluster), *FREE, *files.flags) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def mutual(cluster: DevCluster, files: Files) -> Iterator[Server]:
    """A server that asks its clients for certificates."""
    flags = (*FREE, *files.flags, f"--tls-client-ca={files.ca}")
    with run_server(files.folder, write_scope("test", cluster), *flags) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


Call = Callable[..., str]
every_listener = pytest.mark.parametrize(("call", "reason"), [(by_http, "SCOPE_NOT_FOUND"), (by_grpc, "INVALID_NAME")])


@every_listener
def test_calls_come_through(server: Server, files: Files, call: Call, reason: str) -> None:
    assert call(server, files) == reason


@pytest.mark.parametrize("protocol", ["connect", "grpcweb", "grpc"])
def test_buf_curl(server: Server, files: Files, protocol: str) -> None:
    """Over gRPC it learns of HTTP/2 by ALPN, and of the method by reflection."""
    address = server.grpc_address if protocol == "grpc" else server.address
    schema = [] if protocol == "grpc" else ["--schema", str(PROTO)]
    url = f"https://{address}/{PROCEDURE}"
    words = ["--protocol", protocol, "--cacert", str(files.ca), *schema, "--data", "{}", url]
    done = subprocess.run([BUF, "curl", *words], capture_output=True, text=True, check=False)
    assert json.loads(done.stderr)["code"] == "invalid_argument"


def test_a_version_before_1_2_is_refused(server: Server, files: Files) -> None:
    for address in (server.address, server.grpc_address):
        context = ssl.create_default_context(cafile=files.ca)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            handshaken(address, context)


def test_alpn(server: Server, files: Files) -> None:
    for address, protocol in ((server.address, "http/1.1"), (server.grpc_address, "h2")):
        context = ssl.create_default_context(cafile=files.ca)
        context.set_alpn_protocols(["h2", "http/1.1"] if protocol == "h2" else ["http/1.1"])
        with handshaken(address, context) as connection:
            assert connection.selected_alpn_protocol() == protocol


def test_plain_text_is_not_spoken(server: Server) -> None:
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(http1_bytes(valid("connect-json")))
        assert not connection.recv(100).startswith(b"HTTP")


@pytest.mark.parametrize("listener", ["http", "grpc"])
@every_listener
def test_a_renewed_certificate_is_used_without_a_restart(
    server: Server, files: Files, listener: str, call: Call, reason: str
) -> None:
    address = server.address if listener == "http" else server.grpc_address
    before = shown_certificate(address)
    renewed = files.renew()
    assert before != renewed
    assert shown_certificate(address) == renewed
    assert call(server, files) == reason


def test_a_renewal_that_fails_leaves_the_old_certificate(server: Server, files: Files) -> None:
    addresses = (server.address, server.grpc_address)
    before = shown_certificate(server.address)
    files.certificate.write_text("no certificate")
    for address in addresses:
        assert shown_certificate(address) == before
    wait_until(lambda: "stays in use" in server.log.read_text())
    assert server.log.read_text().count("stays in use") == 1
    renewed = files.renew()
    for address in addresses:
        assert shown_certificate(address) == renewed


class TestMutual:
    @every_listener
    def test_a_client_with_a_certificate_is_let_in(self, mutual: Server, files: Files, call: Call, reason: str) -> None:
        assert call(mutual, files, files.client("known")) == reason

    @every_listener
    def test_a_client_without_one_is_not(self, mutual: Server, files: Files, call: Call, reason: str) -> None:
        with pytest.raises(OSError):  # noqa: PT011 - whatever the connection ends with
            call(mutual, files)
        assert call(mutual, files, files.client("known")) == reason

    @every_listener
    def test_nor_one_with_a_strangers(
        self, mutual: Server, files: Files, call: Call, reason: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        stranger = Files(tmp_path_factory.mktemp("stranger"), trustme.CA()).client("stranger")
        with pytest.raises(OSError):  # noqa: PT011 - as above
            call(mutual, files, stranger)
        assert call(mutual, files, files.client("known")) == reason

    @pytest.mark.parametrize(
        ("listener", "call", "free"), [("grpc", by_grpc, by_http), ("http", by_http, by_grpc)], ids=["grpc", "http"]
    )
    def test_one_listener_can_ask_for_it_alone(
        self, cluster: DevCluster, files: Files, listener: str, call: Call, free: Call
    ) -> None:
        flags = (*FREE, *files.flags, f"--tls-client-ca={files.ca}", f"--tls-client-ca-on={listener}")
        with run_server(files.folder, write_scope("test", cluster), *flags) as server:
            assert free(server, files)
            with pytest.raises(OSError):  # noqa: PT011 - as above
                call(server, files)
            assert call(server, files, files.client("known"))

    def test_new_authorities_are_used_without_a_restart(self, mutual: Server, files: Files) -> None:
        authority = trustme.CA()
        newcomer = Files(files.folder, authority).client("newcomer")
        with files.ca.open("ab") as ca:
            ca.write(authority.cert_pem.bytes())
        assert by_http(mutual, files, newcomer) == "SCOPE_NOT_FOUND"
        assert by_grpc(mutual, files, newcomer) == "INVALID_NAME"


class TestStarting:
    def refusal(self, cluster: DevCluster, *flags: str) -> str:
        failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", *FREE, *flags)
        assert failed.returncode == 1
        assert failed.stderr.count("\n") == 1
        return failed.stderr

    def test_a_key_that_is_not_the_certificates(self, cluster: DevCluster, files: Files) -> None:
        files.authority.issue_cert(HOST).private_key_pem.write_to_path(files.key)
        assert self.refusal(cluster, *files.flags) == (
            f"Error: tls: the key {files.key} is not that of the certificate {files.certificate}.\n"
        )

    @pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"])
    def test_files_that_are_no_pair(self, cluster: DevCluster, files: Files, content: str) -> None:
        files.certificate.write_text(content)
        assert "cannot be read as a certificate and its unencrypted key" in self.refusal(cluster, *files.flags)

    def test_a_key_that_is_encrypted(self, cluster: DevCluster, files: Files) -> None:
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        files.key.write_bytes(encrypted)
        assert "unencrypted key" in self.refusal(cluster, *files.flags)

    def test_authorities_that_are_none(self, cluster: DevCluster, files: Files) -> None:
        files.ca.write_text("")
        refusal = self.refusal(cluster, *files.flags, f"--tls-client-ca={files.ca}")
        assert refusal == f"Error: tls: {files.ca} holds no certificate.\n"

    def test_half_a_pair(self, cluster: DevCluster, files: Files) -> None:
        assert "certificate and key go together" in self.refusal(cluster, files.flags[0])

    def test_authorities_without_a_pair(self, cluster: DevCluster, files: Files) -> None:
        assert "client_ca needs certificate and key" in self.refusal(cluster, f"--tls-client-ca={files.ca}")
