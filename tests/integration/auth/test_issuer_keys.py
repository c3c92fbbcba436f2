"""The keys of an issuer: found where it says, by no proxy of the environment, and anew where they are replaced."""

import json
import select
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from rbd_connect.devcluster import DevCluster
from support.access import grant
from support.issuer import AUDIENCE, ISSUER, Issuer, issuing
from support.secrets import SECRETS
from support.server import Server, run_server, start_and_fail
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, Answer, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

GRANT = grant("sso:*", ["*"])


def setting(*lines: str, issuer: str = ISSUER) -> str:
    return "\n".join(["[issuers.sso]", f'issuer = "{issuer}"', f'audience = "{AUDIENCE}"', *lines, ""])


def called(server: Server, token: str, transport: str = "connect-json") -> Answer:
    SECRETS.add(token)
    request = valid(transport, "test", "nowhere")
    return send(server, replace(request, headers=[*request.headers, (b"authorization", b"Bearer " + token.encode())]))


def is_believed(server: Server, token: str, transport: str = "connect-json") -> bool:
    answer = called(server, token, transport)
    assert (answer.code, answer.reason) in {("not_found", "IMAGE_NOT_FOUND"), ("unauthenticated", "UNAUTHENTICATED")}
    return answer.code == "not_found"


@contextmanager
def serving(
    cluster: DevCluster, folder: Path, issuer: str, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    settings = issuer + write_scope("test", cluster) + GRANT
    with run_server(folder, settings, environment=environment) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


class TestKeySets:
    def test_secrets_among_the_keys_are_none(self, cluster: DevCluster, tmp_path: Path) -> None:
        """Whatever an issuer shows, on each transport a caller is told the same, and others are served."""
        with issuing() as issuer:
            issuer.new_key("shown")
            public = issuer.key_set["keys"]
            key = issuer.keys["shown"]
            assert isinstance(key, rsa.RSAPrivateKey)
            shown = {**RSAAlgorithm.to_jwk(key, as_dict=True), "kid": "shown", "alg": "RS256"}
            keys = [public[0], shown, {"kty": "oct", "kid": "secret", "k": "c2VjcmV0c2VjcmV0", "alg": "RS256"}]
            issuer.answer = lambda request: issuer.send(request, json.dumps({"keys": keys}).encode())
            with serving(cluster, tmp_path, setting(f'jwks = "{issuer.url}"')) as server:
                for transport in TRANSPORTS:
                    assert not is_believed(server, issuer.token(key_id="shown"), transport)
                    assert is_believed(server, issuer.token(), transport)
                assert "shows a secret: its key 'shown' is not used" in server.log.read_text()

    def test_one_that_is_odd_spoils_no_other(self, cluster: DevCluster, tmp_path: Path) -> None:
        odd: list[Any] = [
            5, None, [], {}, {"kty": 5}, {"kty": "RSA", "n": 5}, {"kty": "RSA", "n": "AQAB"},
            {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "RSA", "kid": ["a"]},
            {"kty": "RSA", "key_ops": 5},
            {"kty": "OKP", "crv": "X25519", "x": "AA"}, {"kid": {}, "kty": "RSA", "use": []}, {"kty": "RSA", "alg": {}},
        ]  # fmt: skip
        with issuing() as issuer:
            content = json.dumps({"keys": [*odd, *issuer.key_set["keys"]]}).encode()
            issuer.answer = lambda request: issuer.send(request, content)
            with serving(cluster, tmp_path, setting(f'jwks = "{issuer.url}"')) as server:
                assert is_believed(server, issuer.token())

    def test_one_without_an_algorithm_is_for_those_that_fit(self, cluster: DevCluster, tmp_path: Path) -> None:
        path = tmp_path / "keys.json"
        issuer = Issuer()
        issuer.new_curve_key("curve")
        keys = [{name: value for name, value in key.items() if name != "alg"} for key in issuer.key_set["keys"]]
        path.write_text(json.dumps({"keys": keys}))
        lines = (f'jwks = "{path}"', 'algorithms = ["RS512", "PS256", "ES256"]')
        with serving(cluster, tmp_path, setting(*lines)) as server:
            for transport in TRANSPORTS:
                for algorithm in ("RS512", "PS256"):
                    assert is_believed(server, issuer.token(algorithm=algorithm), transport)
                assert is_believed(server, issuer.token(key_id="curve", algorithm="ES256"), transport)
                assert not is_believed(server, issuer.token(algorithm="RS256"), transport)
            keys[0]["alg"] = "RS512"
            path.write_text(json.dumps({"keys": keys}))
            wait_until(lambda: not is_believed(server, issuer.token(algorithm="PS256")), 10)
            assert is_believed(server, issuer.token(algorithm="RS512"))


def test_a_key_that_is_replaced_under_its_id_is_found_within_seconds(cluster: DevCluster, tmp_path: Path) -> None:
    """And strangers who sign by others do not have it asked for each time."""
    with issuing() as issuer, serving(cluster, tmp_path, setting(f'jwks = "{issuer.url}"')) as server:
        old = issuer.token()
        assert is_believed(server, old)
        stranger = jwt.encode(issuer.claims(), Issuer().keys["first"], "RS256", headers={"kid": "first"})
        began = time.monotonic()
        for _ in range(30):
            assert not is_believed(server, stranger)
        assert issuer.asked <= 2 + (time.monotonic() - began) / 5
        issuer.new_key("first")
        began = time.monotonic()
        wait_until(lambda: is_believed(server, issuer.token()), 10)
        assert not is_believed(server, old)
        asked = issuer.asked
        for transport in TRANSPORTS:
            assert is_believed(server, issuer.token(), transport)
        assert issuer.asked == asked


class TestProxies:
    """A proxy with keys of its own."""

    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    def context(self, authority: trustme.CA) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        return context

    @pytest.mark.parametrize("with_tls", [False, True])
    def test_those_of_the_environment_are_not_asked(
        self,
        cluster: DevCluster,
        tmp_path: Path,
        authority: trustme.CA,
        with_tls: bool,  # noqa: FBT001 - a parameter
    ) -> None:
        ca = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(ca)
        tls = self.context(authority) if with_tls else None
        host = "localhost" if with_tls else "127.0.0.1"
        with issuing(tls, host) as issuer, issuing() as proxy:
            address = proxy.url.removesuffix("/keys")
            names = ("http_proxy", "https_proxy", "all_proxy")
            environment = {each: address for name in names for each in (name, name.upper())}
            settings = setting(f'jwks = "{issuer.url}"', *([f'jwks_ca = "{ca}"'] if with_tls else []))
            with serving(cluster, tmp_path, settings, environment) as server:
                for transport in TRANSPORTS:
                    assert not is_believed(server, proxy.token(), transport)
                    assert is_believed(server, issuer.token(), transport)
                assert proxy.asked == 0

    def test_one_of_the_settings_is(self, cluster: DevCluster, tmp_path: Path, authority: trustme.CA) -> None:
        ca = tmp_path / "ca.pem"
        authority.cert_pem.write_to_path(ca)
        with issuing(self.context(authority), "localhost") as issuer, _tunneling() as proxy:
            lines = (f'jwks = "{issuer.url}"', f'jwks_ca = "{ca}"', f'proxy = "http://127.0.0.1:{proxy.port}"')
            with serving(cluster, tmp_path, setting(*lines)) as server:
                assert is_believed(server, issuer.token())
                assert proxy.asked == [f"CONNECT localhost:{issuer.url.split(':')[2].split('/')[0]} HTTP/1.1"]

    @pytest.mark.parametrize(
        ("lines", "problem"),
        [
            (('jwks = "http://127.0.0.1:1/keys"', 'proxy = "http://127.0.0.1:2"'), "proxy needs keys by https"),
            (('jwks = "https://a/keys"', 'proxy = "127.0.0.1:2"'), "is no proxy"),
        ],
    )
    def test_one_that_could_change_the_keys_is_refused(
        self, cluster: DevCluster, tmp_path: Path, lines: tuple[str, ...], problem: str
    ) -> None:
        config = tmp_path / "settings.toml"
        config.write_text(setting(*lines) + write_scope("test", cluster))
        done = start_and_fail("serve", "--config", str(config))
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert problem in done.stderr


class _Tunnel(socketserver.StreamRequestHandler):
    """CONNECT, and bytes both ways."""

    def handle(self) -> None:
        assert isinstance(self.server, _Proxy)
        line, *_ = iter(lambda: self.rfile.readline().strip(), b"")
        self.server.asked.append(line.decode())
        host, _, port = line.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            ends = {self.connection: there, there: self.connection}
            while True:
                for end in select.select([*ends], [], [], 10)[0]:
                    some = end.recv(65536)
                    if not some:
                        return
                    ends[end].sendall(some)


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.asked: list[str] = []
        self.port = self.server_address[1]


@contextmanager
def _tunneling() -> Iterator[_Proxy]:
    with _Proxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


class TestDiscovery:
    def test_the_issuer_tells_where_its_keys_are(self, cluster: DevCluster, tmp_path: Path) -> None:
        with issuing() as issuer, serving(cluster, tmp_path, setting(issuer=issuer.realm)) as server:
            for transport in TRANSPORTS:
                assert is_believed(server, issuer.token(iss=issuer.realm), transport)
                assert not is_believed(server, issuer.token(), transport)
            assert issuer.asked == 2
            issuer.new_key("first")
            wait_until(lambda: is_believed(server, issuer.token(iss=issuer.realm)), 10)

    def test_what_it_tells_is_not_believed_where_it_is_wrong(self, cluster: DevCluster, tmp_path: Path) -> None:
        with issuing() as issuer, serving(cluster, tmp_path, setting(issuer=issuer.realm)) as server:

            def is_told(text: str) -> bool:
                assert not is_believed(server, issuer.token(iss=issuer.realm))
                return text in server.log.read_text()

            issuer.discover(issuer=f"{issuer.realm}/")
            wait_until(
                lambda: (
                    not is_believed(server, issuer.token(iss=issuer.realm))
                    and "of another issuer" in server.log.read_text()
                ),
                20,
            )
            issuer.discover(jwks_uri="http://keys.example.com/keys")
            wait_until(
                lambda: (
                    not is_believed(server, issuer.token(iss=issuer.realm))
                    and "no jwks_uri with https" in server.log.read_text()
                ),
                20,
            )
            issuer.discover()
            wait_until(lambda: is_believed(server, issuer.token(iss=issuer.realm)), 20)

    def test_an_issuer_that_is_no_address_needs_keys(self, cluster: DevCluster, tmp_path: Path) -> None:
        config = tmp_path / "settings.toml"
        for issuer in ("sso", "http://sso.example.com", "https://"):
            config.write_text(setting(issuer=issuer) + write_scope("test", cluster))
            done = start_and_fail("serve", "--config", str(config))
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert "issuers.sso: needs jwks" in done.stderr


def test_a_subject_can_be_another_claim_where_there_is_no_sub(cluster: DevCluster, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    issuer = Issuer()
    path.write_text(json.dumps(issuer.key_set))
    lines = (f'jwks = "{path}"', 'subject_claim = "client_id"')
    with serving(cluster, tmp_path, setting(*lines)) as server:
        for transport in TRANSPORTS:
            assert is_believed(server, issuer.token(sub=None, client_id="job"), transport)
            assert json.loads(server.audit.read_text().splitlines()[-1])["subject"] == "sso:job"
            assert not is_believed(server, issuer.token(client_id=None), transport)
            assert not is_believed(server, issuer.token(sub=None, client_id=["job"]), transport)
