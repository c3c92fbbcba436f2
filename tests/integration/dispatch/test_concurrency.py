"""Many calls at once: one winner a name, an image's calls in turn, refusals that tell when to come back, deadlines."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import rados
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CLIENTS, Outcome, create, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, frozen, held_up, write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, let_down, send, valid

ROUNDS = 10
RACERS = 8

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture(scope="module")
def two_servers(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with (
        run_server(tmp_path_factory.mktemp("one"), write_scope("test", cluster)) as one,
        run_server(tmp_path_factory.mktemp("two"), write_scope("test", cluster)) as two,
    ):
        yield [one, two]


@pytest.fixture
def narrow(cluster: DevCluster, tmp_path: Path) -> Iterator[Server]:
    """A server with little room."""
    limits = ("--calls-at-once=4", "--calls-waiting=6", "--calls-waiting-per-image=3", "--calls-max-timeout=20")
    with run_server(tmp_path, write_scope("test", cluster), *limits) as server:
        yield server


@pytest.mark.parametrize("servers", [1, 2])
def test_of_those_who_race_for_a_name_one_wins(
    two_servers: list[Server], tools: Tools, new_image: NewImage, servers: int
) -> None:
    """And the others get the winner's snapshot."""
    image = new_image(written=1)
    names = ["connect-json", "connect-binary", "grpc-web", "grpcio"]
    with ThreadPoolExecutor(RACERS) as pool:
        for number in range(ROUNDS):
            body = request("rbd", image, f"round-{number}")
            racers = [
                pool.submit(CLIENTS[names[racer % 4]], two_servers[racer % servers], body) for racer in range(RACERS)
            ]
            outcomes = [racer.result() for racer in racers]
            assert Counter(outcome.code for outcome in outcomes) == {None: 1, "already_exists": RACERS - 1}
            (winner,) = [outcome.reply for outcome in outcomes if outcome.reply]
            assert all(outcome.details["Snapshot"] == winner for outcome in outcomes if outcome.code)
    assert len(tools.snapshots(f"rbd/{image}")) == ROUNDS


def test_nothing_is_locked_after_a_call(server: Server, tools: Tools, new_image: NewImage) -> None:
    """Whether it succeeded or not."""
    image = new_image()
    header = f"rbd_header.{tools.rbd_json('info', f'rbd/{image}')['id']}"
    for code in (None, "already_exists"):
        assert create(server, request("rbd", image, "first")).code == code
        with tools.ioctx() as ioctx:
            ioctx.lock_exclusive(header, "rbd-connect", code or "", "", 60, 0)
            ioctx.unlock(header, "rbd-connect", code or "")


def test_a_lock_whose_holder_has_the_image_open_no_longer_is_broken(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    lease = 60
    with tools.ioctx() as ioctx:
        lock(ioctx, tools, image, lease)
        started = time.monotonic()
        assert create(server, request("rbd", image, "first")).reply
        assert time.monotonic() - started < lease / 2


def test_a_lock_whose_holder_has_the_image_open_is_waited_for_until_its_lease_ends(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    lease = 3
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image):
        started = time.monotonic()
        lock(ioctx, tools, image, lease)
        assert create(server, request("rbd", image, "first")).reply
        assert time.monotonic() - started >= lease


def lock(ioctx: rados.Ioctx, tools: Tools, image: str, seconds: int) -> None:
    """Do as a server that is at a change of an image."""
    image_id = tools.rbd_json("info", f"rbd/{image}")["id"]
    ioctx.lock_exclusive(f"rbd_header.{image_id}", "rbd-connect", "another's", "", seconds, 0)


@contextmanager
def busy(server: Server, tools: Tools, image: str, calls: int) -> Iterator[list["Future[Outcome]"]]:
    """Keep an image busy with calls: one that waits for a lock, and others that wait for that one."""
    assert create(server, request("rbd", image, "before")).reply
    with ThreadPoolExecutor(calls) as pool, held_up(tools, image) as is_held:
        futures = [pool.submit(create, server, request("rbd", image, f"busy-{number}")) for number in range(calls)]
        wait_until(lambda: is_held(image))
        yield futures


def lines_of(server: Server, image: str) -> list[str]:
    return [line for line in server.log.read_text().splitlines() if f'"image_name": "{image}"' in line]


def test_those_for_whom_there_is_no_room_are_refused_at_once(narrow: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    with busy(narrow, tools, image, 6) as calls:
        wait_until(lambda: sum(call.done() for call in calls) == 2)
        assert len([line for line in lines_of(narrow, image) if "resource_exhausted" in line]) == 2
        done = [call.result() for call in calls if call.done()]
        assert {outcome.reason for outcome in done} == {"IMAGE_BUSY"}
        for outcome in done:
            assert outcome.code == "resource_exhausted"
            assert outcome.details["RetryInfo"] == {"retryDelay": "1s"}
    outcomes = Counter(call.result().code for call in calls)
    assert outcomes == {None: 4, "resource_exhausted": 2}
    assert len(tools.snapshots(f"rbd/{image}")) == 5


def test_a_scope_has_room_for_so_many(cluster: DevCluster, narrow: Server, new_image: NewImage) -> None:
    images = [new_image() for _ in range(12)]
    assert create(narrow, request("rbd", images[0], "before")).reply
    with ThreadPoolExecutor(len(images)) as pool:
        with frozen(cluster.mon):
            calls = [pool.submit(create, narrow, request("rbd", image, "during")) for image in images]
            wait_until(lambda: sum(call.done() for call in calls) == 2)
            assert {call.result().reason for call in calls if call.done()} == {"SCOPE_BUSY"}
        assert Counter(call.result().code for call in calls) == {None: 10, "resource_exhausted": 2}


@every_transport
def test_a_deadline_that_passes_while_the_call_waits_says_that_nothing_was_done(
    server: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    image = new_image()
    with busy(server, tools, image, 1):
        late = send(server, valid(transport, "test", image, "late").with_timeout(300))
        assert (late.code, late.reason) == ("deadline_exceeded", "NOT_STARTED")
    names = {snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")}
    assert names == {"before", "busy-0"}


@every_transport
def test_who_goes_away_while_the_call_waits_gives_up_the_place(
    server: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    image = new_image()
    with busy(server, tools, image, 1):

        def is_canceled_while_waiting() -> bool:
            """Leave after what should be time enough; one that left before it was read is no call."""
            with let_down(server, valid(transport, "test", image, "gone")):
                assert send(server, valid(transport)).reason == "SCOPE_NOT_FOUND"
            return any("canceled" in line for line in lines_of(server, image))

        wait_until(is_canceled_while_waiting)
    assert create(server, request("rbd", image, "after")).reply
    names = {snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")}
    assert names == {"before", "busy-0", "after"}


def test_the_end_of_a_call_whose_caller_has_gone_is_in_the_log(
    cluster: DevCluster, server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    assert create(server, request("rbd", image, "before")).reply
    with frozen(cluster.mon):
        late = send(server, valid("connect-json", "test", image, "late").with_timeout(300))
    assert late.reason == "OUTCOME_UNKNOWN"
    request_id = late.headers["x-request-id"].decode()
    ended = re.compile(f"request {request_id} ended .* after its caller had gone: ok")
    wait_until(lambda: ended.search(server.log.read_text()))
    assert tools.snapshot(f"rbd/{image}", "late")


def test_a_call_without_a_deadline_gets_one(cluster: DevCluster, new_image: NewImage, tmp_path: Path) -> None:
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster), "--calls-default-timeout=1") as server:
        assert create(server, request("rbd", image, "before")).reply
        with frozen(cluster.mon):
            assert create(server, request("rbd", image, "during")).reason == "OUTCOME_UNKNOWN"


def test_a_deadline_is_no_later_than_it_may_be(cluster: DevCluster, new_image: NewImage, tmp_path: Path) -> None:
    image = new_image()
    limits = ("--calls-default-timeout=1", "--calls-max-timeout=1")
    with run_server(tmp_path, write_scope("test", cluster), *limits) as server:
        assert create(server, request("rbd", image, "before")).reply
        with frozen(cluster.mon):
            during = valid("connect-json", "test", image, "during").with_timeout(600_000)
            assert send(server, during).reason == "OUTCOME_UNKNOWN"
