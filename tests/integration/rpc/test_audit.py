"""The audit: a line for each call that changes something, or was not let; and the id by which a call is found in it."""

import asyncio
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.callers import TRANSPORTS as OVER
from support.callers import Caller
from support.callers import request as asked_for
from support.clients import CALLS, Call, image_request, in_time, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, frozen, held_up, write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, let_down, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def token(tokens: Tokens) -> str:
    return tokens.new("alice")


@pytest.fixture(scope="module")
def server(
    cluster: DevCluster, tokens: Tokens, token: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    assert token
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"], "image-*")
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server


def lines(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.audit.read_text(encoding="ascii").splitlines()]


@pytest.mark.parametrize(("transport", "call"), CALLS.items())
def test_each_change_is_a_line(
    server: Server, tools: Tools, token: str, new_image: NewImage, transport: str, call: Call
) -> None:
    image = new_image()
    body = request("rbd", image, "first")
    before = len(lines(server))
    done = [
        ("CreateImageSnapshot", "create"),
        ("CreateImageSnapshot", "create"),
        ("ProtectImageSnapshot", "protect"),
        ("UnprotectImageSnapshot", "unprotect"),
        ("RollbackImageSnapshot", "rollback"),
        ("DeleteImageSnapshot", "delete"),
        ("DeleteImageSnapshot", "delete"),
    ]
    number = None
    for rpc, _ in done:
        call(server, body, rpc, bearer(token))
        number = number or tools.snapshot(f"rbd/{image}", "first")["id"]
    written = lines(server)[before:]
    assert [line["action"] for line in written] == [action for _, action in done]
    assert [line["code"] for line in written] == ["ok", "already_exists", "ok", "ok", "ok", "ok", "not_found"]
    assert [line["snapshot_id"] for line in written] == [number] * 6 + [None]
    for line in written:
        assert (line["subject"], line["transport"]) == ("alice", transport)
        assert line["credential"].startswith("token ")
        assert line["peer"].startswith("127.0.0.1:")
        assert (line["scope"], line["pool"], line["namespace"]) == ("test", "rbd", None)
        assert (line["image"], line["snapshot"]) == (image, "first")
        assert line["duration_ms"] > 0
        assert line["time"].endswith("Z")


def test_what_changes_nothing_is_none(server: Server, token: str) -> None:
    before = len(lines(server))
    for rpc in ("ListPools", "ListImages"):
        assert CALLS["connect"](server, {"scope": "test"}, rpc, bearer(token)).code is None
    assert len(lines(server)) == before


@pytest.mark.parametrize(("transport", "call"), CALLS.items())
def test_what_was_not_let_is_a_line_too(server: Server, token: str, transport: str, call: Call) -> None:
    before = len(lines(server))
    call(server, request("rbd", "image-1", "first"), "CreateImageSnapshot")
    call(server, request("rbd", "secret", "first"), "DeleteImageSnapshot", bearer(token))
    call(server, image_request("image-1", scope="other"), "DeleteImage", bearer(token))
    stranger, hidden, elsewhere = lines(server)[before:]
    assert (stranger["subject"], stranger["code"], stranger["action"]) == (None, "unauthenticated", "create")
    assert (hidden["subject"], hidden["code"], hidden["image"]) == ("alice", "not_found", "secret")
    assert (elsewhere["action"], elsewhere["reason"]) == ("image.delete", "SCOPE_NOT_FOUND")
    assert {line["transport"] for line in (stranger, hidden, elsewhere)} == {transport}
    assert list(stranger) == list(hidden) == list(elsewhere)


@pytest.mark.parametrize(
    "name",
    ['a\n{"time": "2000-01-01", "subject": "mallory"}', "a\r\nb", "a\x1b[2Jb", "a\u2028b", 'a"b', "\x00", "ä\x7f"],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nobody_forges_a_line(server: Server, token: str, call: Call, name: str) -> None:
    before = len(lines(server))
    call(server, request("rbd", "image-1", name), "DeleteImageSnapshot", bearer(token))
    (line,) = lines(server)[before:]
    assert (line["snapshot"], line["subject"]) == (name, "alice")
    assert server.audit.read_text(encoding="ascii").replace("\n", "").isprintable()


def test_how_it_ended_is_told_of_a_call_whose_caller_had_gone(
    server: Server, tools: Tools, token: str, new_image: NewImage
) -> None:
    image = new_image()
    with held_up(tools, image) as is_held:
        asked = valid("connect-json", "test", image, "left")
        headers = [*asked.headers, (b"authorization", b"Bearer " + token.encode())]
        with let_down(server, replace(asked, headers=headers)):
            wait_until(partial(is_held, image))
    wait_until(lambda: [line for line in lines(server) if line["image"] == image])
    (line,) = [line for line in lines(server) if line["image"] == image]
    assert (line["code"], line["final"]) == ("canceled", "ok")
    assert line["snapshot_id"] == tools.snapshot(f"rbd/{image}", "left")["id"]


def test_how_it_ended_is_told_of_a_call_whose_deadline_had_passed(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        with frozen(cluster.mon):
            outcome = in_time(server, request("rbd", image, "late"), "CreateImageSnapshot", 0.5)
            assert outcome.code == "deadline_exceeded"
        wait_until(lambda: lines(server))
        (line,) = lines(server)
    assert (line["code"], line["reason"], line["final"]) == ("deadline_exceeded", outcome.reason, "ok")
    assert tools.snapshot(f"rbd/{image}", "late")["id"] == line["snapshot_id"]


@pytest.mark.parametrize("transport", OVER)
def test_how_it_ended_is_told_of_each_call_that_ends_near_its_deadline(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path, transport: str
) -> None:
    """Each deadline is about what a create took just before."""
    images = [new_image() for _ in range(8)]

    async def create(caller: Caller, image: str) -> None:
        await caller(asked_for(image, "first", scope="test"), None)
        took = (await caller(asked_for(image, "second", scope="test"), None)).seconds
        for number in range(40):
            answer = await caller(asked_for(image, f"s{number}", scope="test"), took * (0.9 + number % 5 / 20))
            if answer.code is None:
                took = answer.seconds

    async def all_of_them(server: Server) -> None:
        async with OVER[transport](server, len(images)) as callers:
            await asyncio.gather(*(create(caller, image) for caller, image in zip(callers, images, strict=True)))

    with run_server(tmp_path, write_scope("test", cluster)) as server:
        asyncio.run(all_of_them(server))
    written = lines(server)
    assert len(written) == 42 * len(images)
    late = [line for line in written if line["code"] in {"deadline_exceeded", "canceled"}]
    assert late, "some were late"
    there = {(image, each["name"]) for image in images for each in tools.snapshots(f"rbd/{image}")}
    for line in late:
        is_there = (line["image"], line["snapshot"]) in there
        assert line["final"] == ("ok" if is_there else None), line
        assert is_there == (line["snapshot_id"] is not None)
        assert is_there or line["reason"] in {"NOT_STARTED", None}


def test_a_file_that_was_moved_away_is_made_anew(server: Server, token: str) -> None:
    call = CALLS["connect"]

    def marked(mark: str) -> None:
        call(server, request("rbd", "image-1", mark), "DeleteImageSnapshot", bearer(token))

    marked("before")
    old = server.audit.with_suffix(".1")
    server.audit.rename(old)
    server.process.send_signal(signal.SIGHUP)
    marked("after")
    assert json.loads(old.read_text().splitlines()[-1])["snapshot"] == "before"
    assert [line["snapshot"] for line in lines(server)] == ["after"]
    assert server.audit.stat().st_mode & 0o777 == 0o600


def test_it_comes_on_standard_output_where_no_file_is_named(cluster: DevCluster, tmp_path: Path) -> None:
    with run_server(tmp_path, write_scope("test", cluster), with_audit_file=False) as server:
        CALLS["connect"](server, request("rbd", "nowhere", "first"))
        assert server.process.stdout is not None
        line = json.loads(server.process.stdout.readline())
        assert '"transport"' not in server.log.read_text()
    assert (line["subject"], line["reason"]) == ("anybody", "IMAGE_NOT_FOUND")


class TestTheRequestId:
    @every_transport
    def test_is_the_callers_where_it_is_well_formed(self, server: Server, transport: str) -> None:
        given = b"job-4711.retry_2"
        asked = valid(transport)
        answer = send(server, replace(asked, headers=[*asked.headers, (b"x-request-id", given)]))
        assert answer.headers["x-request-id"] == given
        (info,) = [detail for detail in answer.details if hasattr(detail, "metadata")]
        assert info.metadata["request_id"] == given.decode()
        assert lines(server)[-1]["request_id"] == given.decode()
        assert f"request {given.decode()}" in server.log.read_text()

    @every_transport
    @pytest.mark.parametrize("given", [b"", b"a" * 65, b"a b", b'a"b', b"<a>", b"a,b", b"a=b", b"%0a"])
    def test_is_made_where_it_is_not(self, server: Server, transport: str, given: bytes) -> None:
        asked = valid(transport)
        answer = send(server, replace(asked, headers=[*asked.headers, (b"x-request-id", given)]))
        assert len(answer.headers["x-request-id"]) == 32
        two = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]
        answer = send(server, replace(asked, headers=[*asked.headers, *two]))
        assert len(answer.headers["x-request-id"]) == 32


def test_a_disk_that_is_full_keeps_no_call_from_being_made(cluster: DevCluster, tmp_path: Path) -> None:
    size = 1 << 20
    full = tmp_path / "full"
    with full.open("wb") as file:
        file.truncate(size - 50)
    # No file may be larger than this one would be with a line more.
    prefix = ("prlimit", f"--fsize={size}")
    with run_server(tmp_path, write_scope("test", cluster), f"--audit-file={full}", prefix=prefix) as server:
        outcome = CALLS["connect"](server, request("rbd", "nowhere", "first"))
        assert outcome.reason == "IMAGE_NOT_FOUND"
        log = server.log.read_text()
    assert f"audit.file: {full}: cannot be written: File too large" in log
    assert '"image": "nowhere"' in log
    assert full.stat().st_size == size - 50, "no part of a line is left"
