"""Records that somebody tries to forge, or to swell: by a credential, by a request, and by a name in Ceph."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, Call
from support.issuer import AUDIENCE, ISSUER, Issuer
from support.secrets import SECRETS
from support.server import Server, check_log, run_server
from support.tools import Tools, write_scope
from support.waiting import wait_until
from support.wire import HTTP, TRANSPORTS, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

FORGED = '2026-11-25 00:00:00,000 INFO rbd_connect.rpc.pipeline: forged\n{"time": "2026", "subject": "mallory"}'
POOL = "forgers"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def token(tokens: Tokens) -> str:
    return tokens.new("alice")


@pytest.fixture(scope="module")
def server(
    cluster: DevCluster, issuer: Issuer, tokens: Tokens, token: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The audit comes on standard output, which nobody reads."""
    assert token
    folder = tmp_path_factory.mktemp("server")
    keys = folder / "keys.json"
    keys.write_text(json.dumps(issuer.key_set))
    settings = (
        tokens.setting
        + f'[issuers.sso]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks = "{keys}"\n'
        + write_scope("test", cluster)
        + grant("alice", ["*"], pools="*")
    )
    with run_server(folder, settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def checked(server: Server) -> str:
    """What the log says, in which nothing is forged."""
    check_log(server.log)
    text = server.log.read_text()
    assert not [line for line in text.splitlines() if line.startswith(("{", "2026-11-25 00:00:00,000"))]
    return text


TRICKS: dict[str, dict[str, object]] = {
    "crit": {"crit": [f"x\n{FORGED}"], "kid": "first"},
    "alg": {"alg": f"x\n{FORGED}", "kid": "first"},
    "kid": {"kid": f"x\n{FORGED}"},
    "long kid": {"kid": "k" * 10_000},
    "long crit": {"crit": ["c" * 10_000], "kid": "first"},
}


@every_transport
@pytest.mark.parametrize("name", TRICKS)
def test_by_the_header_of_a_jwt(server: Server, issuer: Issuer, transport: str, name: str) -> None:
    header = {"alg": "RS256", **TRICKS[name]}
    parts = (json.dumps(header).encode(), json.dumps(issuer.claims()).encode(), b"signature")
    forged = b".".join(jwt.utils.base64url_encode(part) for part in parts)
    SECRETS.add(forged.decode())
    before = len(server.log.read_bytes())
    request = valid(transport, "test", "nowhere")
    answer = send(server, replace(request, headers=[*request.headers, (b"authorization", b"Bearer " + forged)]))
    assert answer.code == "unauthenticated"
    checked(server)
    assert len(server.log.read_bytes()) - before < 6000


@every_transport
def test_by_the_claims_of_a_jwt(server: Server, issuer: Issuer, transport: str) -> None:
    for claims in ({"sub": f"x\n{FORGED}"}, {"iss": f"{ISSUER}\n{FORGED}"}, {"aud": FORGED}, {"exp": FORGED}):
        token = issuer.token(**claims)
        request = valid(transport, "test", "nowhere")
        answer = send(
            server, replace(request, headers=[*request.headers, (b"authorization", b"Bearer " + token.encode())])
        )
        assert answer.code == "unauthenticated"
    checked(server)


@pytest.mark.parametrize("transport", HTTP)
def test_by_headers_and_paths(server: Server, transport: str) -> None:
    for name in (b"x-request-id", b"content-type", b"user-agent", b"authorization", b"host"):
        send(server, valid(transport).with_header(name, b"x\x1b[2J\xc3\xa4\x7f"))
    send(server, replace(valid(transport), path=b"/x%0a2026-11-25%2000:00:00,000%20INFO"))
    send(server, replace(valid(transport), path=b"/\xff\xfe"))
    checked(server)


@pytest.mark.parametrize(("transport", "call"), CALLS.items())
def test_a_long_name_costs_little(server: Server, token: str, transport: str, call: Call) -> None:
    assert transport
    before = len(server.log.read_bytes())
    body = {"scope": "test", "poolName": "rbd", "imageName": "ä" * 20_000, "snapshotName": "s\n" * 10_000}
    outcome = call(server, body, "CreateImageSnapshot", bearer(token))
    assert outcome.reason == "INVALID_NAME"
    assert len(server.log.read_bytes()) - before < 6000
    assert len(server.audit.read_bytes().splitlines()[-1]) < 6000
    assert json.loads(server.audit.read_bytes().splitlines()[-1])["image"] == "ä" * 255


@pytest.mark.parametrize(("transport", "call"), CALLS.items())
def test_by_the_name_of_an_image_in_ceph(server: Server, tools: Tools, token: str, transport: str, call: Call) -> None:
    """One that cannot be opened, so that the log tells of it, and so does librbd."""
    pool = f"{POOL}-{transport}"
    name = f"x\n{FORGED}\x1b[2J\u2028ä"
    tools.ceph("osd", "pool", "create", pool, "1")
    tools.rbd("pool", "init", pool)
    try:
        with tools.ioctx(pool) as ioctx:
            rbd.RBD().create(ioctx, name, 1 << 20)
            with rbd.Image(ioctx, name, read_only=True) as image:
                number = image.id()
            ioctx.remove_object(f"rbd_header.{number}")
        outcome = call(server, {"scope": "test"}, "ListImages", bearer(token))
        assert outcome.reply is not None
        assert name in [image["name"] for image in outcome.reply["images"]]
        wait_until(lambda: "only the names are listed" in checked(server))
        assert "2026-11-25 00:00:00,000 INFO rbd_connect.rpc.pipeline: forged" in checked(server), "it is told, as data"
    finally:
        tools.ceph("osd", "pool", "rm", pool, pool, "--yes-i-really-really-mean-it")


def test_the_servers_own_lines_are_still_told_from_its_workers(server: Server) -> None:
    assert (
        "rbd_connect.dispatch.worker.output: scope test: rbd_connect.ceph.listing.omissions: only the names"
        in server.log.read_text()
    )


def test_a_log_can_be_searched_for_a_request(server: Server, tmp_path: Path) -> None:
    assert tmp_path
    request = valid("connect-json")
    send(server, replace(request, headers=[*request.headers, (b"x-request-id", b"found-again")]))
    wait_until(lambda: "request found-again" in server.log.read_text())
