"""JWTs of an issuer: which are believed, on each transport, and what its keys being slow, gone or false does."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import jwt
import pytest

from rbd_connect.devcluster import DevCluster
from support.issuer import AUDIENCE, ISSUER, Issuer, issuing
from support.secrets import SECRETS
from support.server import Server, run_server, start_and_fail
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, Answer, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

GRANTS = """
[[grants]]
issuer = "sso"
claims = { groups = "platform" }
actions = ["create"]
scopes = "test"
pools = "rbd"
images = "*"

[[grants]]
subjects = ["*-ops", "*"]
actions = "*"
scopes = "test"
pools = "rbd"
images = "*"

[[grants]]
subjects = "curves:*"
actions = "*"
scopes = "test"
pools = "rbd"
images = "*"
"""


def setting(name: str, url: str, *lines: str, issuer: str = ISSUER) -> str:
    return "\n".join(
        [f"[issuers.{name}]", f'issuer = "{issuer}"', f'audience = "{AUDIENCE}"', f'jwks = "{url}"', *lines, ""]
    )


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def curves() -> Iterator[Issuer]:
    """Another issuer, which signs by elliptic curves."""
    with issuing() as issuer:
        issuer.new_curve_key("curve")
        yield issuer


@pytest.fixture(scope="module")
def server(
    cluster: DevCluster, issuer: Issuer, curves: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = (
        setting("sso", issuer.url, 'required_claims = ["azp"]')
        + setting("curves", curves.url, 'algorithms = ["ES256"]', 'subject_claim = "name"', issuer="https://curves")
        + write_scope("test", cluster)
        + GRANTS
    )
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def called(server: Server, token: str, transport: str = "connect-json") -> Answer:
    SECRETS.add(token)
    request = valid(transport, "test", "nowhere")
    return send(server, replace(request, headers=[*request.headers, (b"authorization", b"Bearer " + token.encode())]))


def usual(issuer: Issuer, **changes: object) -> str:
    return issuer.token(**{"groups": ["platform"], "azp": "x", **changes})  # type: ignore[arg-type]


@every_transport
def test_a_token_lets_in_and_its_claims_grant(server: Server, issuer: Issuer, transport: str) -> None:
    assert called(server, usual(issuer), transport).reason == "IMAGE_NOT_FOUND"
    for groups in (["others"], "others", None, {"platform": True}):
        assert called(server, usual(issuer, groups=groups), transport).reason == "SCOPE_NOT_FOUND"


@every_transport
def test_a_subject_is_none_of_those_that_a_pattern_means_for_tokens(
    server: Server, issuer: Issuer, transport: str
) -> None:
    for subject in ("evil-ops", "curves:x", "alice"):
        assert called(server, usual(issuer, sub=subject, groups=[]), transport).reason == "SCOPE_NOT_FOUND"


def test_the_subject_is_the_issuers_and_the_claim_that_names_it(server: Server, curves: Issuer) -> None:
    token = curves.token(key_id="curve", algorithm="ES256", iss="https://curves", name="carol")
    assert called(server, token).reason == "IMAGE_NOT_FOUND"
    line = json.loads(server.audit.read_text().splitlines()[-1])
    assert (line["subject"], line["credential"]) == ("curves:carol", "jwt of curves")


def forged(issuer: Issuer, header: dict[str, object], secret: bytes = b"") -> str:
    """Sign a token by hand, with HMAC, as PyJWT would refuse to."""
    claims = issuer.claims(groups=["platform"], azp="x")
    content = f"{packed(header)}.{packed(claims)}"
    return f"{content}.{packed(hmac.digest(secret, content.encode(), 'sha256'))}"


def packed(content: object) -> str:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


NOW = int(time.time())
ATTACKS: dict[str, Callable[[Issuer], str]] = {
    "alg none": lambda issuer: jwt.encode(issuer.claims(azp="x"), "", "none", headers={"kid": "first"}) + "AAAA",
    "alg none, by hand": lambda issuer: forged(issuer, {"alg": "none", "kid": "first"}),
    "alg None": lambda issuer: forged(issuer, {"alg": "None", "kid": "first"}),
    "no alg of a string": lambda issuer: forged(issuer, {"alg": ["RS256"], "kid": "first"}),
    "HS256 by the public key": lambda issuer: forged(
        issuer, {"alg": "HS256", "kid": "first"}, issuer.public_pem("first")
    ),
    "HS256 by nothing": lambda issuer: forged(issuer, {"alg": "HS256", "kid": "first"}, b""),
    "RS512, which is not allowed": lambda issuer: usual(issuer, algorithm="RS512"),
    "PS256, which is not allowed": lambda issuer: usual(issuer, algorithm="PS256"),
    "expired": lambda issuer: usual(issuer, exp=NOW - 60),
    "without an end": lambda issuer: usual(issuer, exp=None),
    "not yet valid": lambda issuer: usual(issuer, nbf=NOW + 3600),
    "issued in the future": lambda issuer: usual(issuer, iat=NOW + 3600),
    "for another audience": lambda issuer: usual(issuer, aud="another"),
    "for no audience": lambda issuer: usual(issuer, aud=None),
    "by another issuer": lambda issuer: usual(issuer, iss="https://evil.example.com"),
    "by the other issuer's name": lambda issuer: usual(issuer, iss="https://curves"),
    "by an issuer with a slash more": lambda issuer: usual(issuer, iss=f"{ISSUER}/"),
    "by no issuer": lambda issuer: usual(issuer, iss=None),
    "by an issuer that is no string": lambda _: f"{packed({'alg': 'RS256'})}.{packed({'iss': [ISSUER]})}.AAAA",
    "signed by HMAC as if by RSA": lambda issuer: forged(issuer, {"alg": "RS256", "kid": "first"}),
    "without a subject": lambda issuer: usual(issuer, sub=None),
    "with a subject that breaks a line": lambda issuer: usual(issuer, sub="alice\nmallory"),
    "with an empty subject": lambda issuer: usual(issuer, sub=""),
    "with a subject of 1,000 letters": lambda issuer: usual(issuer, sub="a" * 1000),
    "without a claim that is required": lambda issuer: usual(issuer, azp=None),
    "with a kid that is not known": lambda issuer: jwt.encode(
        issuer.claims(azp="x"), issuer.keys["first"], "RS256", headers={"kid": "stranger"}
    ),
    "with a kid that is a path": lambda issuer: jwt.encode(
        issuer.claims(azp="x"), issuer.keys["first"], "RS256", headers={"kid": "../../etc/passwd"}
    ),
    "with a key of its own": lambda issuer: jwt.encode(
        issuer.claims(azp="x"),
        Issuer().keys["first"],
        "RS256",
        headers={"kid": "first", "jku": "http://127.0.0.1:1/", "jwk": issuer.key_set["keys"][0]},
    ),
    "by a stranger's key": lambda issuer: jwt.encode(
        issuer.claims(azp="x"), Issuer().keys["first"], "RS256", headers={"kid": "first"}
    ),
    "that ends at no time": lambda issuer: usual(issuer, exp=float("inf")),
    "that begins at no time": lambda issuer: usual(issuer, nbf=float("nan")),
    "with a number for a subject": lambda issuer: usual(issuer, sub=5),
    "with an extension that is critical": lambda issuer: jwt.encode(
        issuer.claims(azp="x"), issuer.keys["first"], "RS256", headers={"kid": "first", "crit": ["x\n{}"], "x\n{}": 1}
    ),
    "truncated": lambda issuer: usual(issuer)[:-8],
    "without a signature": lambda issuer: usual(issuer).rpartition(".")[0] + ".",
    "of two parts": lambda issuer: usual(issuer).rpartition(".")[0],
    "with what it names changed": lambda issuer: ".".join(
        [usual(issuer).split(".")[0], usual(issuer, sub="mallory").split(".")[1], usual(issuer).split(".")[2]]
    ),
    "with a header that is a list": lambda _: "W10.W10.AAAA",
    "nested a thousand times": lambda _: packed(b"[" * 3000) + ".W10.AAAA",
    "encrypted": lambda _: "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA",
}


@every_transport
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_token_that_is_not_right_is_none(server: Server, issuer: Issuer, transport: str, attack: str) -> None:
    answer = called(server, ATTACKS[attack](issuer), transport)
    assert (answer.code, answer.reason) == ("unauthenticated", "UNAUTHENTICATED")
    assert answer.message == "A valid credential is required: Authorization: Bearer TOKEN."


def test_clocks_may_differ_a_little(server: Server, issuer: Issuer) -> None:
    now = int(time.time())
    assert called(server, usual(issuer, exp=now - 10, nbf=now + 10)).reason == "IMAGE_NOT_FOUND"


@pytest.fixture
def alone(cluster: DevCluster, tmp_path: Path) -> Iterator[tuple[Server, Issuer]]:
    """A server and an issuer of which nothing was asked yet."""
    with issuing() as issuer:
        settings = setting("sso", issuer.url) + write_scope("test", cluster) + GRANTS
        with run_server(tmp_path, settings) as server:
            yield server, issuer
            assert "Traceback" not in server.log.read_text()


class TestKeys:
    def test_a_new_key_is_found_and_an_old_one_is_let_go(self, alone: tuple[Server, Issuer]) -> None:
        server, issuer = alone
        old = usual(issuer)
        assert called(server, old).code == "not_found"
        issuer.new_key("second")
        new = usual(issuer, key_id="second")
        del issuer.keys["first"]
        wait_until(lambda: called(server, new).code == "not_found")
        assert called(server, old).code == "unauthenticated"

    def test_they_are_not_asked_for_at_each_call_nor_for_each_stranger(self, alone: tuple[Server, Issuer]) -> None:
        server, issuer = alone
        stranger = jwt.encode(issuer.claims(), Issuer().keys["first"], "RS256", headers={"kid": "stranger"})
        for _ in range(20):
            assert called(server, usual(issuer)).code == "not_found"
            assert called(server, stranger).code == "unauthenticated"
        assert issuer.asked == 1

    def test_an_issuer_that_has_gone_leaves_its_keys(self, alone: tuple[Server, Issuer]) -> None:
        server, issuer = alone
        assert called(server, usual(issuer)).code == "not_found"
        issuer.answer = lambda request: issuer.send(request, b"gone", status=503)
        stranger = jwt.encode(issuer.claims(), issuer.keys["first"], "RS256", headers={"kid": "new"})
        wait_until(lambda: called(server, stranger).code == "unauthenticated" and issuer.asked > 1)
        assert called(server, usual(issuer)).code == "not_found"

    def test_one_that_hangs_holds_up_nobody_but_its_own_strangers(self, alone: tuple[Server, Issuer]) -> None:
        server, issuer = alone

        def hang(_request: BaseHTTPRequestHandler) -> None:
            time.sleep(8)  # longer than the server's patience

        assert called(server, usual(issuer)).code == "not_found"
        issuer.answer = hang
        stranger = jwt.encode(issuer.claims(), issuer.keys["first"], "RS256", headers={"kid": "new"})
        wait_until(lambda: called(server, stranger).code == "unauthenticated" and issuer.asked > 1)
        started = time.monotonic()
        assert called(server, usual(issuer)).code == "not_found"
        assert time.monotonic() - started < 3

    @pytest.mark.parametrize(
        "lie",
        [
            b"",
            b"no JSON",
            b"[]",
            b'{"keys": []}',
            b'{"keys": [{"kty": "oct", "kid": "first", "k": "c2VjcmV0"}]}',
            b'{"keys": [5, null]}',
            b'{"keys": "first"}',
            b"[" * 100_000,
            b" " * (2 << 20),
            b'{"keys": [{"kty": "RSA", "kid": "first", "n": "AQAB", "e": "AQAB", "use": "sig"}]}',
        ],
        ids=["empty", "text", "list", "no-key", "secret", "numbers", "string", "deep", "large", "weak"],
    )
    def test_one_that_lies_is_not_believed(self, alone: tuple[Server, Issuer], lie: bytes) -> None:
        server, issuer = alone
        issuer.answer = lambda request: issuer.send(request, lie)
        assert called(server, usual(issuer)).code == "unauthenticated"
        secret = forged(issuer, {"alg": "HS256", "kid": "first"}, b"secret")
        assert called(server, secret).code == "unauthenticated"

    def test_one_that_sends_elsewhere_is_not_followed(self, alone: tuple[Server, Issuer]) -> None:
        server, issuer = alone

        def redirect(request: BaseHTTPRequestHandler) -> None:
            if request.path == "/elsewhere":
                issuer.show(request)
                return
            request.send_response(302)
            request.send_header("location", "/elsewhere")
            request.send_header("content-length", "0")
            request.end_headers()

        issuer.answer = redirect
        assert called(server, usual(issuer)).code == "unauthenticated"
        assert issuer.asked == 1

    def test_they_can_be_in_a_file_which_may_change(self, cluster: DevCluster, tmp_path: Path) -> None:
        issuer = Issuer()
        path = tmp_path / "keys.json"
        path.write_text(json.dumps(issuer.key_set))
        settings = setting("sso", str(path)) + write_scope("test", cluster) + GRANTS
        with run_server(tmp_path, settings) as server:
            assert called(server, usual(issuer)).code == "not_found"
            issuer.new_key("second")
            path.write_text(json.dumps(issuer.key_set))
            wait_until(lambda: called(server, usual(issuer, key_id="second")).code == "not_found")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('algorithms = ["HS256"]', "'HS256' is not allowed"),
        ('algorithms = ["none"]', "'none' is not allowed"),
        ("algorithms = []", "at least 1"),
        ('jwks = "http://sso.example.com/keys"', "who can change the keys can be anybody"),
        ('jwks = "ftp://sso.example.com/keys"', "who can change the keys can be anybody"),
        ('jwks = "/nowhere/keys"', "there is no file /nowhere/keys"),
        ("leeway = 3600", "less than or equal to 300"),
        ("colour = 1", "Known here: issuer, audience"),
    ],
)
def test_settings_that_would_not_be_safe_are_refused(
    cluster: DevCluster, tmp_path: Path, line: str, problem: str
) -> None:
    config = tmp_path / "settings.toml"
    text = setting("sso", "https://sso.example.com/keys")
    if line.startswith("jwks"):
        text = text.replace('jwks = "https://sso.example.com/keys"', line)
    else:
        text += line + "\n"
    config.write_text(text + write_scope("test", cluster))
    done = start_and_fail("serve", "--config", str(config))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert problem in done.stderr
    assert f"issuers.sso.{line.partition(' ')[0]}" in done.stderr
