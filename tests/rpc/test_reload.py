"""Tokens, grants and limits while the server runs: changed all together or not at all, and no call is in between."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import NewImage
from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, Call, Outcome, create, request
from support.server import Server, run_server, workers_of
from support.tools import frozen, wait_until, write_scope

every_transport = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@dataclass
class Setup:
    """A server whose settings can be written anew."""

    server: Server
    tokens: Tokens
    scope: str
    alice: str
    bob: str

    def write(self, *grants: str, before: str = "") -> None:
        self.server.config.write_text(before + self.tokens.setting + self.scope + "".join(grants))

    def asked(self, call: Call, token: str, image: str = "nowhere") -> str:
        outcome: Outcome = call(self.server, request("rbd", image, "first"), "CreateImageSnapshot", bearer(token))
        return outcome.reason


@pytest.fixture
def setup(cluster: DevCluster, tmp_path: Path) -> Iterator[Setup]:
    tokens = Tokens(tmp_path)
    alice, bob = tokens.new("alice"), tokens.new("bob")
    scope = write_scope("test", cluster)
    with run_server(tmp_path, tokens.setting + scope + grant("alice", ["*"])) as server:
        yield Setup(server, tokens, scope, alice, bob)
        assert "Traceback" not in server.log.read_text()


@every_transport
def test_a_file_that_changed_is_read_anew(setup: Setup, call: Call) -> None:
    assert setup.asked(call, setup.alice) == "IMAGE_NOT_FOUND"
    assert setup.asked(call, setup.bob) == "SCOPE_NOT_FOUND"
    setup.write(grant("bob", ["*"]))
    wait_until(lambda: setup.asked(call, setup.bob) == "IMAGE_NOT_FOUND")
    assert setup.asked(call, setup.alice) == "SCOPE_NOT_FOUND"


def test_sighup_has_it_read_at_once_and_ends_no_worker(setup: Setup) -> None:
    call = CALLS["connect"]
    assert setup.asked(call, setup.alice) == "IMAGE_NOT_FOUND"
    workers = workers_of(setup.server)
    setup.write(grant("bob", ["*"]))
    setup.server.process.send_signal(signal.SIGHUP)
    for worker in workers:  # a terminal that goes tells them all
        os.kill(worker, signal.SIGHUP)
    wait_until(lambda: "reload: tokens, issuers, grants and limits were read anew" in setup.server.log.read_text())
    assert setup.asked(call, setup.bob) == "IMAGE_NOT_FOUND"
    assert workers_of(setup.server) == workers


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("no TOML [", "is not TOML"),
        ("colour = 1\n", "colour: is no setting"),
        ('[[grants]]\nsubjects = "bob"\n', "line 3: [[grants]] number 1: auth: is no setting. auth is in no table"),
        ('usage = "all"\n', "usage: must be a table"),
    ],
)
def test_a_file_that_is_broken_leaves_what_was_in_force(setup: Setup, broken: str, problem: str) -> None:
    call = CALLS["connect"]
    assert setup.asked(call, setup.alice) == "IMAGE_NOT_FOUND"
    setup.write(grant("bob", ["*"]), before=broken)
    wait_until(lambda: "What was in force stays so" in setup.server.log.read_text())
    (line,) = [line for line in setup.server.log.read_text().splitlines() if "What was in force stays so" in line]
    assert problem in line
    assert setup.asked(call, setup.alice) == "IMAGE_NOT_FOUND"
    assert setup.asked(call, setup.bob) == "SCOPE_NOT_FOUND"
    setup.write(grant("bob", ["*"]))
    wait_until(lambda: setup.asked(call, setup.bob) == "IMAGE_NOT_FOUND")


def test_tokens_that_are_broken_leave_what_was_in_force(setup: Setup) -> None:
    call = CALLS["connect"]
    text = setup.tokens.path.read_text()
    for change in ("x", "\udcff", ""):
        setup.tokens.path.write_bytes((change + text).encode(errors="surrogateescape") if change else b"\xff\n")
        wait_until(lambda: "What was in force stays so" in setup.server.log.read_text())
        assert setup.asked(call, setup.alice) == "IMAGE_NOT_FOUND"
    setup.tokens.path.unlink()
    setup.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "there is no file" in setup.server.log.read_text())
    assert setup.asked(call, setup.alice) == "IMAGE_NOT_FOUND"


def test_what_cannot_be_changed_while_it_runs_is_said(setup: Setup) -> None:
    setup.write(grant("alice", ["*"]), before="calls = { waiting = 7 }\n")
    wait_until(lambda: "what changed in calls waits for a restart" in setup.server.log.read_text())


def test_authentication_cannot_go_from_a_server_that_others_reach(cluster: DevCluster, tmp_path: Path) -> None:
    """Also where the settings say, by now, that it is to listen on loopback: it does not yet."""
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    scope = write_scope("test", cluster)
    settings = tokens.setting + scope + grant("alice", ["*"])
    config = tmp_path / "rbd-connect.toml"
    with run_server(tmp_path, settings, "--listen-http=0.0.0.0:0", "--listen-grpc=0.0.0.0:0") as server:
        config.write_text(scope)
        wait_until(lambda: "What was in force stays so" in server.log.read_text())
        assert "can be reached by others" in server.log.read_text()
        assert create(server, request("rbd", "nowhere", "first")).code == "unauthenticated"
        outcome = CALLS["connect"](server, request("rbd", "i", "s"), "CreateImageSnapshot", bearer(token))
        assert outcome.code == "not_found"


def test_each_call_is_under_the_old_or_under_the_new(setup: Setup, new_image: NewImage) -> None:
    """By turns, one of two has a valid token, and everything is granted to that one alone."""
    image = new_image()
    call = CALLS["connect"]
    settings = []
    for subject, line in zip(("alice", "bob"), setup.tokens.path.read_text().splitlines(), strict=True):
        path = setup.tokens.path.with_name(subject)
        path.touch(0o600)
        path.write_text(line)
        settings.append(f'auth = {{ tokens = "{path}" }}\n' + setup.scope + grant(subject, ["*"]))
    stop = threading.Event()

    def calls(token: str, answers: Counter[str]) -> None:
        while not stop.is_set():
            outcome = call(setup.server, request("rbd", image, "none"), "ProtectImageSnapshot", bearer(token))
            answers[outcome.reason] += 1

    def reload(text: str) -> None:
        log = setup.server.log.read_text()
        setup.server.config.write_text(text)
        setup.server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: setup.server.log.read_text().count("were read anew") > log.count("were read anew"))

    def both_call_since() -> None:
        """Wait until each has made a call, however busy the machine is."""
        enough = [(answers, answers.total() + 2) for answers in (alices, bobs)]
        wait_until(lambda: all(answers.total() >= number for answers, number in enough))

    reload(settings[0])
    alices, bobs = Counter[str](), Counter[str]()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(calls, setup.alice, alices), pool.submit(calls, setup.bob, bobs)]
        try:
            for turn in range(30):
                reload(settings[turn % 2])
                both_call_since()
        finally:
            stop.set()
        for future in futures:
            future.result()
    # Nobody was let in to whom nothing was granted, and nothing was granted to who was not let in.
    assert alices.keys() == bobs.keys() == {"SNAPSHOT_NOT_FOUND", "UNAUTHENTICATED"}


def test_limits_are_changed_too(setup: Setup) -> None:
    call = CALLS["connect"]
    setup.write(grant("alice", ["*"]), before="subjects = { rate = 1 }\n")
    wait_until(lambda: "were read anew" in setup.server.log.read_text())
    assert "SUBJECT_RATE" in {setup.asked(call, setup.alice) for _ in range(5)}
    setup.write(grant("alice", ["*"]))
    wait_until(lambda: setup.server.log.read_text().count("were read anew") >= 2)
    assert {setup.asked(call, setup.alice) for _ in range(5)} == {"IMAGE_NOT_FOUND"}


def test_a_call_that_is_under_way_ends_as_it_began(setup: Setup, cluster: DevCluster, new_image: NewImage) -> None:
    image = new_image()
    with ThreadPoolExecutor(1) as pool:
        with frozen(cluster.mon):
            future = pool.submit(
                CALLS["grpc"], setup.server, request("rbd", image, "s"), "CreateImageSnapshot", bearer(setup.alice)
            )
            setup.tokens.revoke("alice")
            wait_until(lambda: "were read anew" in setup.server.log.read_text())
        assert future.result().code is None
    assert json.loads(setup.server.audit.read_text())["code"] == "ok"
