"""A worker that crashes, as Ceph's library does at times: the call that did it is found, and others succeed."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Outcome, create, request
from support.images import NewImage
from support.server import Server, run_server, workers_of
from support.tools import Tools, frozen, write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, send, valid

CRASHES = [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL]

OK = (None, None, False)
UNKNOWN = ("unavailable", "OUTCOME_UNKNOWN", True)
CRASHED = ("failed_precondition", "WORKER_CRASHED", False)
REFUSED = ("failed_precondition", "REFUSED_AFTER_CRASH", False)

Begin = Callable[..., Future[Outcome]]


def told(outcome: Outcome) -> tuple[str | None, str | None, bool]:
    """Give the code, the reason, and whether a client is to try again."""
    return outcome.code, None if outcome.code is None else outcome.reason, "RetryInfo" in outcome.details


def unread(process: int) -> int:
    """How many bytes a process has sent to daemons that did not read them yet."""
    rows = [line.split() for line in subprocess.check_output(["ss", "-Htnp"], text=True).splitlines()]
    ours = {row[3] for row in rows if f"pid={process}," in row[-1]}
    return sum(int(row[1]) for row in rows if row[4] in ours)


@contextmanager
def in_flight(cluster: DevCluster, server: Server) -> Iterator[Begin]:
    """Give what begins a call, and returns when a process, which is to be found, has asked the OSD for something.

    The OSD does not answer meanwhile. Without a process, it is the one that is started for the call.
    """

    def begin(rpc: str, body: dict[str, Any], process: int | None = None) -> Future[Outcome]:
        others = workers_of(server)
        before = 0 if process is None else unread(process)
        call = pool.submit(CALLS["connect"], server, body, rpc)
        wait_until(lambda: any(unread(each) > before for each in _asked(server, process, others)))
        return call

    with ThreadPoolExecutor() as pool, frozen(cluster.osd):
        yield begin


def _asked(server: Server, process: int | None, others: list[int]) -> list[int]:
    return [each for each in workers_of(server) if each not in others] if process is None else [process]


def crash(process: int, number: int = signal.SIGSEGV) -> None:
    os.kill(process, number)


def snapshots(tools: Tools, image: str) -> list[str]:
    return [each["name"] for each in tools.snapshots(f"rbd/{image}")]


def the_worker(server: Server, image: str) -> int:
    """Give the worker, which has been connected for a while."""
    assert create(server, request("rbd", image, "before")).code in {None, "already_exists"}
    wait_until(lambda: len(workers_of(server)) == 1)
    return workers_of(server)[0]


@pytest.fixture(scope="module")
def crashing(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_server(tmp_path_factory.mktemp("crashing"), write_scope("test", cluster)) as server:
        yield server


@pytest.mark.parametrize("number", CRASHES, ids=lambda number: number.name)
def test_a_call_that_crashes_its_worker_is_refused_from_then_on(
    cluster: DevCluster, crashing: Server, tools: Tools, new_image: NewImage, number: int
) -> None:
    image = new_image()
    worker = the_worker(crashing, image)
    with in_flight(cluster, crashing) as begin:
        call = begin("CreateImageSnapshot", request("rbd", image, "during"), worker)
        crash(worker, number)
        assert told(call.result()) == CRASHED
        assert told(create(crashing, request("rbd", image, "another"))) == REFUSED  # no OSD is asked
    for transport in TRANSPORTS:
        answer = send(crashing, valid(transport, "test", image, "another"))
        assert (answer.code, answer.reason) == REFUSED[:2]
        assert not any(detail.DESCRIPTOR.name == "RetryInfo" for detail in answer.details)
    assert "another" not in snapshots(tools, image)


def test_other_calls_on_the_image_and_the_same_on_other_images_go_on(
    cluster: DevCluster, crashing: Server, tools: Tools, new_image: NewImage
) -> None:
    image, other = new_image(), new_image()
    worker = the_worker(crashing, image)
    with in_flight(cluster, crashing) as begin:
        call = begin("RollbackImageSnapshot", request("rbd", image, "before"), worker)
        crash(worker)
        assert told(call.result()) == CRASHED
    assert told(CALLS["grpc"](crashing, request("rbd", image, "before"), "RollbackImageSnapshot")) == REFUSED
    for rpc in ("ProtectImageSnapshot", "UnprotectImageSnapshot", "DeleteImageSnapshot"):
        assert told(CALLS["grpc"](crashing, request("rbd", image, "before"), rpc)) == OK
    assert told(create(crashing, request("rbd", other, "before"))) == OK
    assert told(CALLS["grpc"](crashing, request("rbd", other, "before"), "RollbackImageSnapshot")) == OK
    assert (snapshots(tools, image), snapshots(tools, other)) == ([], ["before"])


def test_of_several_the_one_that_did_it_is_found_and_the_others_succeed(
    cluster: DevCluster, crashing: Server, tools: Tools, new_image: NewImage
) -> None:
    guilty, innocent, later = new_image(), new_image(), new_image()
    worker = the_worker(crashing, guilty)
    with in_flight(cluster, crashing) as begin:
        calls = [begin("CreateImageSnapshot", request("rbd", image, "s"), worker) for image in (guilty, innocent)]
        crash(worker)
        assert [told(call.result()) for call in calls] == [UNKNOWN, UNKNOWN]
    worker = the_worker(crashing, later)
    with in_flight(cluster, crashing) as begin:
        neighbour = begin("CreateImageSnapshot", request("rbd", later, "s"), worker)
        retry = begin("CreateImageSnapshot", request("rbd", guilty, "s"))
        (alone,) = [process for process in workers_of(crashing) if process != worker]
        crash(alone)
        assert told(retry.result()) == CRASHED
    assert told(neighbour.result()) == OK
    assert create(crashing, request("rbd", innocent, "s")).code in {None, "already_exists"}
    assert told(create(crashing, request("rbd", guilty, "s"))) == REFUSED
    wait_until(lambda: workers_of(crashing) == [worker])  # that of a suspect ends with its call
    assert told(create(crashing, request("rbd", innocent, "again"))) == OK
    assert workers_of(crashing) == [worker]
    assert all("s" in snapshots(tools, image) for image in (innocent, later))


def test_a_list_that_crashes_its_worker_is_refused_and_nothing_else_is(
    cluster: DevCluster, crashing: Server, new_image: NewImage
) -> None:
    image = new_image()
    worker = the_worker(crashing, image)
    with in_flight(cluster, crashing) as begin:
        call = begin("ListImages", {"scope": "test"}, worker)
        crash(worker)
        assert told(call.result()) == CRASHED
    assert told(CALLS["grpc"](crashing, {"scope": "test"}, "ListImages")) == REFUSED
    assert told(CALLS["grpc"](crashing, {"scope": "test"}, "ListPools")) == OK
    assert told(create(crashing, request("rbd", image, "after"))) == OK


def test_a_crash_while_it_connects_is_no_calls_doing(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster)) as server, ThreadPoolExecutor() as pool:
        (worker,) = workers_of(server)
        with frozen(cluster.mon):
            call = pool.submit(create, server, request("rbd", image, "during"))
            wait_until(lambda: unread(worker))
            crash(worker)
            assert told(call.result()) == UNKNOWN
        wait_until(lambda: told(create(server, request("rbd", image, "after"))) == OK)
    assert snapshots(tools, image) == ["after"]


def test_a_worker_that_crashes_as_it_starts_is_not_started_again_and_again(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    """Calls are refused meanwhile, and go on when that is over."""
    image = new_image()
    broken, starts = tmp_path / "broken", tmp_path / "starts"
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import os, pathlib, sys
if "rbd_connect.dispatch.worker.main" in sys.orig_argv and pathlib.Path({str(broken)!r}).exists():
    with open({str(starts)!r}, "a") as starts:
        starts.write("x")
    os.abort()
"""
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    broken.touch()
    with run_server(tmp_path, write_scope("test", cluster), environment=environment) as server:
        outcomes = [told(create(server, request("rbd", image, "during"))) for _ in range(100)]
        assert outcomes[-1] == ("unavailable", "CONNECT_FAILED", True)
        assert set(outcomes) <= {UNKNOWN, outcomes[-1]}
        assert 1 < len(starts.read_text()) < 10
        broken.unlink()
        wait_until(lambda: told(create(server, request("rbd", image, "after"))) == OK)
    assert snapshots(tools, image) == ["after"]
