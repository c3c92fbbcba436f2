"""What an operator reads in the log: why a call was refused or took long, and what the server is at."""

import json
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest

from rbd_connect.auth.tokens import read as read_tokens
from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant, wrong_token
from support.clients import CALLS, Outcome, create, image_request, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, frozen, held_up, write_scope
from support.waiting import wait_until

Headers = list[tuple[str, str]]
_CALL = re.compile(
    r" rbd_connect\.rpc\.pipeline: \w+ \w+.* in (?P<whole>[\d.]+) ms \((?P<parts>.*?)\) request (?P<id>\S+) by "
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def alice(tokens: Tokens) -> Headers:
    return bearer(tokens.new("alice"))


@pytest.fixture(scope="module")
def server(
    cluster: DevCluster, tokens: Tokens, alice: Headers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"], "image-*", pools="rbd")
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        wait_until(lambda: CALLS["connect"](server, {"scope": "test"}, "ListPools", alice).reply is not None)
        yield server


def snapshot(server: Server, body: dict[str, str], headers: Headers) -> Outcome:
    return CALLS["connect"](server, body, "CreateImageSnapshot", headers)


def lines(server: Server, *words: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if all(word in line for word in words)]


def parts_of(line: str) -> tuple[float, dict[str, float]]:
    """The milliseconds that a call took, and those of its parts."""
    match = _CALL.search(line)
    assert match, line
    parts = (part.rpartition(" ") for part in match["parts"].split(", ") if part)
    return float(match["whole"]), {name: float(number) for name, _, number in parts}


@pytest.mark.parametrize("transport", CALLS)
def test_the_parts_of_a_call_add_up_to_the_whole(
    server: Server, alice: Headers, new_image: NewImage, transport: str
) -> None:
    image, made = new_image(), f"image-{uuid4().hex}"
    body = request("rbd", image, "first")
    before = len(lines(server))
    done = [
        (body, "CreateImageSnapshot"),
        (body, "CreateImageSnapshot"),
        (body, "ProtectImageSnapshot"),
        (body, "UnprotectImageSnapshot"),
        (body, "RollbackImageSnapshot"),
        (body, "DeleteImageSnapshot"),
        (body, "DeleteImageSnapshot"),
        (image_request(made, quotaBytes=1 << 23), "CreateImage"),
        (image_request(made, quotaBytes=1 << 24), "UpdateImage"),
        (image_request(made, quotaBytes=1 << 22), "UpdateImage"),
        (image_request(made), "DeleteImage"),
        ({"scope": "test"}, "ListImages"),
        ({"scope": "test"}, "ListPools"),
    ]
    for fields, name in done:
        CALLS[transport](server, fields, name, alice)
    written = [line for line in lines(server)[before:] if " rbd_connect.rpc.pipeline: " in line]
    assert len(written) == len(done)
    for line in written:
        whole, parts = parts_of(line)
        assert abs(whole - sum(parts.values())) <= 0.05 * (len(parts) + 1) + 0.01, line


def test_waiting_for_an_image_is_a_part(server: Server, alice: Headers, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    with ThreadPoolExecutor() as threads:
        with held_up(tools, image) as is_open:
            name = f"first-{uuid4().hex}"
            first = threads.submit(snapshot, server, request("rbd", image, name), alice)
            wait_until(lambda: is_open(image))
            second = threads.submit(snapshot, server, request("rbd", image, f"{name}-second"), alice)
            wait_until(lambda: "1 wait" in in_flight(server)[-1])
            waited = time.monotonic()
            wait_until(lambda: time.monotonic() - waited > 0.5)
        assert first.result().reply
        assert second.result().reply
    (line,) = lines(server, f"{name}-second", " ms (")
    whole, parts = parts_of(line)
    assert parts["wait"] > 500
    assert whole - parts["wait"] < whole / 2 + 1000


def in_flight(server: Server) -> list[str]:
    """What the server says that it is at, when asked."""
    before = len(lines(server, "in flight: scope test: "))
    server.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(lines(server, "in flight: scope test: ")) > before)
    told = lines(server, "in flight: ")
    begins = max(number for number, line in enumerate(told) if " that nobody waits for" in line)
    return told[begins:]


def test_a_signal_has_the_server_say_what_it_is_at(
    server: Server, alice: Headers, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    (first, second), left = in_flight(server), f"left-{uuid4().hex}"
    assert "in flight: 0 calls, and 0 that nobody waits for" in first
    assert "0 calls have their turn, 0 wait, on 0 images; worker " in second
    with ThreadPoolExecutor() as threads:
        with held_up(tools, image) as is_open:
            given_up = snapshot(server, request("rbd", image, left), [*alice, ("Connect-Timeout-Ms", "500")])
            assert given_up.reason == "OUTCOME_UNKNOWN"
            assert is_open(image)
            waits = threads.submit(snapshot, server, request("rbd", image, "waits"), alice)
            wait_until(lambda: " 1 wait," in in_flight(server)[-1])
            head, oldest, youngest, scope = in_flight(server)
            assert "in flight: 1 calls, and 1 that nobody waits for" in head
            assert re.search(
                r"in flight: CreateImageSnapshot for \d+\.\d s at lock \(.*lock [\d.]+.*\), which its caller has not "
                r"waited for \(deadline_exceeded\) request \S+ by \"alice\" .*" + left,
                oldest,
            ), oldest
            assert re.search(r"in flight: CreateImageSnapshot for \d+\.\d s at wait \(.*\"waits\"", youngest), youngest
            assert "1 calls have their turn, 1 wait, on 1 images; worker " in scope
            assert ", connected as 127.0.0.1:0/" in scope
        assert waits.result().reply


class TestCredentials:
    def test_a_revoked_token_is_named_on_the_line_of_its_call(self, server: Server, tokens: Tokens) -> None:
        token = tokens.new("gone")
        (revoked,) = [entry.id for entry in read_tokens(tokens.path) if entry.subject == "gone"]
        tokens.revoke("gone")
        body, request_id = request("rbd", "image-x", "s"), uuid4().hex

        def refused() -> list[str]:
            assert snapshot(server, body, [*bearer(token), ("x-request-id", request_id)]).code in {
                "unauthenticated",
                "not_found",
            }
            return lines(server, request_id, "UNAUTHENTICATED")

        wait_until(refused)
        line = refused()[-1]
        assert "a credential from 127.0.0.1 is rejected: " in line
        assert f"there is no token {revoked}: it was revoked, or never made here" in line

    @pytest.mark.parametrize(
        ("credential", "cause"),
        [
            (None, "there is none"),
            ("Bearer a b", "the header Authorization is not: Bearer TOKEN"),
            (f"Bearer {wrong_token()}", "there is no token "),
        ],
        ids=["none", "malformed", "unknown"],
    )
    def test_so_is_what_else_is_wrong_with_one(self, server: Server, credential: str | None, cause: str) -> None:
        request_id = uuid4().hex
        headers = [("x-request-id", request_id), *([("authorization", credential)] if credential else [])]
        for call in CALLS.values():
            refused = call(server, request("rbd", "image-x", "s"), "CreateImageSnapshot", headers)
            assert refused.code == "unauthenticated"
        wait_until(lambda: len(lines(server, request_id)) == len(CALLS))
        for line in lines(server, request_id):
            assert f"CreateImageSnapshot refused: UNAUTHENTICATED (unauthenticated) request {request_id}: " in line
            assert f"is rejected: {cause}" in line


@pytest.mark.parametrize(
    ("pool", "image", "told"),
    [("rbd", "hidden", "not_found IMAGE_NOT_FOUND"), ("elsewhere", "image-x", "not_found POOL_NOT_FOUND")],
)
def test_what_grants_hide_is_told_apart_from_what_is_not_there(
    server: Server, alice: Headers, pool: str, image: str, told: str
) -> None:
    hidden, absent = uuid4().hex, uuid4().hex
    assert snapshot(server, request(pool, image, "s"), [*alice, ("x-request-id", hidden)]).code == "not_found"
    (line,) = lines(server, hidden)
    assert f"CreateImageSnapshot {told} (not granted) in " in line
    assert audited(server, hidden)["granted"] is False
    body = request("rbd", "image-not-there", "s")
    assert snapshot(server, body, [*alice, ("x-request-id", absent)]).code == "not_found"
    (line,) = lines(server, absent)
    assert "not granted" not in line
    assert audited(server, absent)["granted"] is True


def audited(server: Server, request_id: str) -> dict[str, object]:
    entries = map(json.loads, server.audit.read_text(encoding="ascii").splitlines())
    (found,) = [entry for entry in entries if entry["request_id"] == request_id]
    return dict(found)


class TestStopping:
    """While the monitor is silent, to stop is no error of a worker's."""

    def test_in_the_middle_of_a_call(self, cluster: DevCluster, tmp_path: Path) -> None:
        settings = "[listen]\ndrain_timeout = 1\n" + write_scope("test", cluster)
        with ThreadPoolExecutor() as threads, run_server(tmp_path, settings, ends_with=1) as server:
            assert create(server, request("rbd", "no-image", "first")).reason == "IMAGE_NOT_FOUND"
            with frozen(cluster.mon):
                waits = threads.submit(create, server, request("rbd", "no-image", "first"))
                wait_until(lambda: "1 calls have their turn" in in_flight(server)[-1])
                server.process.send_signal(signal.SIGTERM)
                assert server.process.wait(30) == 1
            assert isinstance(waits.exception() or waits.result(), object)
            assert lines(server, " ERROR ", "worker") == []

    def test_in_the_middle_of_connecting(self, cluster: DevCluster, tmp_path: Path) -> None:
        with frozen(cluster.mon), run_server(tmp_path, write_scope("test", cluster)) as server:
            with suppress(HTTPError):
                urlopen(f"{server.url}/readyz").read()  # noqa: S310 - it has the server connect
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
            assert time.monotonic() - began < 20
            assert [line for line in lines(server, " ERROR ") if "cannot connect to Ceph as" not in line] == []
