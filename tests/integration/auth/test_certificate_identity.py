"""A client certificate's name as an identity, on each transport: what it is granted, and which names are none."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest
from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant, wrong_token
from support.server import Server, run_server, start_and_fail
from support.tls import FREE, Files, Pair, by_grpc, by_http
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

GRANTS = (
    grant("certificate:*@ops.example.com", ["*"])
    + grant("alice", ["*"])
    + grant("*", ["*"], "for-tokens", scopes="test")
    + grant("certificate@x", ["*"])
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.made_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def tokens(files: Files) -> Tokens:
    return Tokens(files.folder)


@pytest.fixture(scope="module")
def token(tokens: Tokens) -> str:
    return tokens.new("alice")


@pytest.fixture(scope="module")
def server(cluster: DevCluster, files: Files, tokens: Tokens, token: str) -> Iterator[Server]:
    """A server that takes certificates by their address, and tokens."""
    assert token
    settings = f'auth = {{ tokens = "{tokens.path}", certificate_name = "email" }}\n' + write_scope("test", cluster)
    flags = (*FREE, *files.flags, f"--tls-client-ca={files.ca}")
    with run_server(files.folder, settings + GRANTS, *flags) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def pair(files: Files, *names: str, name: str = "client", common_name: str | None = None) -> Pair:
    issued = files.authority.issue_cert(*names, common_name=common_name)
    paths = files.folder / f"{name}.pem", files.folder / f"{name}.key"
    issued.cert_chain_pems[0].write_to_path(paths[0])
    issued.private_key_pem.write_to_path(paths[1])
    return paths


def asked(server: Server, files: Files, transport: str, client: Pair, token: str | None = None) -> str:
    if transport == "grpc":
        message = CreateImageSnapshotRequest(scope="test", pool_name="rbd", image_name="nowhere", snapshot_name="s")
        return by_grpc(server, files, client, message, bearer(token) if token else ())
    request = valid(transport, "test", "nowhere")
    headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
    return by_http(server, files, client, replace(request, headers=[*request.headers, *headers]))


@every_transport
def test_its_name_is_the_subject(server: Server, files: Files, transport: str) -> None:
    client = pair(files, "backup@ops.example.com")
    assert asked(server, files, transport, client) == "IMAGE_NOT_FOUND"
    line = json.loads(server.audit.read_text().splitlines()[-1])
    serial = x509.load_pem_x509_certificate(client[0].read_bytes()).serial_number
    assert (line["subject"], line["credential"]) == ("certificate:backup@ops.example.com", f"certificate {serial:x}")


@every_transport
def test_it_is_granted_what_is_granted_to_certificates_alone(server: Server, files: Files, transport: str) -> None:
    """Not what tokens are, by a pattern or by their name."""
    for name in ("alice@example.com", "backup@evil.example.com", "x@ops.example.com.evil.org"):
        assert asked(server, files, transport, pair(files, name)) == "SCOPE_NOT_FOUND"


@every_transport
def test_names_that_are_none(server: Server, files: Files, transport: str) -> None:
    for client in (
        pair(files, "a@ops.example.com", "b@ops.example.com"),
        pair(files, "ops.example.com"),
        pair(files, "host.example.com", common_name="a@ops.example.com"),
    ):
        assert asked(server, files, transport, client) == "UNAUTHENTICATED"


@every_transport
def test_a_token_says_more(server: Server, files: Files, token: str, transport: str) -> None:
    client = pair(files, "nobody@example.com")
    assert asked(server, files, transport, client) == "SCOPE_NOT_FOUND"
    assert asked(server, files, transport, client, token) == "IMAGE_NOT_FOUND"
    known = pair(files, "backup@ops.example.com")
    assert asked(server, files, transport, known, wrong_token()) == "UNAUTHENTICATED"


@pytest.mark.parametrize(("kind", "name"), [("cn", "backup job"), ("dns", "backup.example.com")])
def test_other_kinds_of_names(cluster: DevCluster, files: Files, tmp_path: Path, kind: str, name: str) -> None:
    config = f'auth = {{ certificate_name = "{kind}" }}\n' + write_scope("test", cluster)
    flags = (*FREE, *files.flags, f"--tls-client-ca={files.ca}")
    with run_server(tmp_path, config + grant(f"certificate:{name}", ["*"]), *flags) as server:
        client = pair(files, "backup.example.com", common_name="backup job", name=kind)
        for transport in TRANSPORTS:
            assert asked(server, files, transport, client) == "IMAGE_NOT_FOUND"
        # Nor does the kind go without a restart, where nothing else lets in.
        server.config.write_text(write_scope("test", cluster))
        wait_until(lambda: "everybody would be let in without a credential" in server.log.read_text())
        assert asked(server, files, "grpc", pair(files, "other.example.com")) != "IMAGE_NOT_FOUND"


def test_a_listener_that_asks_for_no_certificate_knows_none(cluster: DevCluster, files: Files, tmp_path: Path) -> None:
    settings = 'auth = { certificate_name = "email" }\n' + write_scope("test", cluster) + GRANTS
    flags = (*FREE, *files.flags, f"--tls-client-ca={files.ca}", "--tls-client-ca-on=grpc")
    with run_server(tmp_path, settings, *flags) as server:
        client = pair(files, "backup@ops.example.com")
        assert asked(server, files, "grpc", client) == "IMAGE_NOT_FOUND"
        assert asked(server, files, "connect-json", client) == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("", "auth.certificate_name: needs tls.client_ca"),
        ('[issuers.certificate]\nissuer = "https://a"\naudience = "a"\n', "issuers.certificate: the subjects of"),
    ],
)
def test_settings_that_cannot_be_meant(
    cluster: DevCluster, files: Files, tmp_path: Path, more: str, problem: str
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('auth = { certificate_name = "cn" }\n' + more + write_scope("test", cluster))
    flags = [*files.flags, f"--tls-client-ca={files.ca}"] if more else []
    done = start_and_fail("serve", "--config", str(config), *flags)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert problem in done.stderr
