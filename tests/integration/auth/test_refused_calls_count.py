"""What is refused counts as what is not: a subject's rate is of calls, whatever becomes of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, request
from support.server import Server, run_server
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, Request, send, valid

_RATE = 5
_SECONDS = 1.5


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def made(tokens: Tokens) -> dict[str, str]:
    subjects = ["modest", "hasty", *(f"{kind}-{transport}" for kind in REFUSED for transport in TRANSPORTS)]
    return {subject: tokens.new(subject) for subject in subjects}


@pytest.fixture(scope="module")
def server(
    cluster: DevCluster, tokens: Tokens, made: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    assert made
    settings = tokens.setting + f"subjects = {{ rate = {_RATE} }}\n" + write_scope("test", cluster)
    settings += grant("modest", ["*"]) + grant("hasty", ["*"])
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


REFUSED: dict[str, Callable[[Request], Request]] = {
    "not-granted": lambda asked: asked,
    "malformed": lambda asked: asked.with_message(b"\xff\xff\xff"),
}


def authorized(asked: Request, token: str) -> Request:
    return replace(asked, headers=[*asked.headers, (b"authorization", b"Bearer " + token.encode())])


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_subject_whose_calls_are_all_refused_has_no_more_of_them(
    server: Server, made: dict[str, str], transport: str, kind: str
) -> None:
    asked = authorized(REFUSED[kind](valid(transport, "test", "nowhere")), made[f"{kind}-{transport}"])
    modest = authorized(valid(transport, "test", "nowhere"), made["modest"])
    wait_until(lambda: send(server, modest).reason == "IMAGE_NOT_FOUND")
    began = time.monotonic()
    answers: Counter[str] = Counter()
    while time.monotonic() - began < _SECONDS:
        answers[send(server, asked).reason] += 1
    most = _RATE * (time.monotonic() - began) + _RATE
    assert answers["SUBJECT_RATE"] > answers.total() - most - 1
    assert set(answers) == {"SUBJECT_RATE", "SCOPE_NOT_FOUND" if kind == "not-granted" else "MALFORMED_REQUEST"}
    assert send(server, modest).reason == "IMAGE_NOT_FOUND"


def test_what_was_refused_so_is_a_line_of_the_audit(server: Server, made: dict[str, str]) -> None:
    before = len(server.audit.read_bytes().splitlines())
    outcomes = [
        CALLS["connect"](server, request("rbd", "nowhere", "s"), "DeleteImageSnapshot", bearer(made["hasty"]))
        for _ in range(3 * _RATE)
    ]
    assert "SUBJECT_RATE" in {outcome.reason for outcome in outcomes}
    lines = server.audit.read_text().splitlines()[before:]
    assert len(lines) == 3 * _RATE
    assert '"subject": "hasty"' in lines[-1]
    assert '"reason": "SUBJECT_RATE"' in lines[-1]


def test_places_are_given_back_by_calls_that_were_refused(cluster: DevCluster, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    settings = tokens.setting + "subjects = { in_flight = 2 }\n" + write_scope("test", cluster) + grant("alice", ["*"])
    with run_server(tmp_path, settings) as server:
        for transport in TRANSPORTS:
            for change in REFUSED.values():
                asked = authorized(change(valid(transport, "test", "nowhere")), token)
                for _ in range(5):
                    wait_until(lambda each=asked: send(server, each).reason != "SUBJECT_BUSY", 2)  # type: ignore[misc]


def test_a_limit_that_is_changed_starts_clean(cluster: DevCluster, tmp_path: Path) -> None:
    """What was called before there was a rate is no debt."""
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    with run_server(tmp_path, settings) as server:

        def reason() -> str:
            body = request("rbd", "nowhere", "s")
            return CALLS["connect"](server, body, "DeleteImageSnapshot", bearer(token)).reason

        async def many() -> None:
            await asyncio.gather(*(asyncio.to_thread(reason) for _ in range(300)))

        asyncio.run(many())
        server.config.write_text(f"subjects = {{ rate = {_RATE} }}\n" + settings)
        wait_until(lambda: "were read anew" in server.log.read_text())
        assert [reason() for _ in range(_RATE)] == ["IMAGE_NOT_FOUND"] * _RATE
        wait_until(lambda: reason() == "SUBJECT_RATE", 5)
        server.config.write_text(settings)
        wait_until(lambda: server.log.read_text().count("were read anew") == 2)
        assert {reason() for _ in range(3 * _RATE)} == {"IMAGE_NOT_FOUND"}
