"""Worker processes: one a scope; when one dies its calls are told so, the next call gets another, and none is left."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from rbd_connect.dispatch.worker import process as child
from rbd_connect.dispatch.worker.channel import Init
from support.clients import create, request
from support.cluster import config_of
from support.images import NewImage
from support.server import Server, is_ready, run_server, workers_of
from support.tools import Tools, frozen, held_up, write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, Answer, send, valid

_SHUT_OUT_WITHIN_SECONDS = 10  # Ceph itself takes 30


@pytest.fixture
def two_scopes(cluster: DevCluster, tmp_path: Path) -> Iterator[Server]:
    with run_server(tmp_path, write_scope("test", cluster) + write_scope("other", cluster)) as server:
        yield server


def worker_of(server: Server, scope: str) -> int:
    (found,) = [worker for worker in workers_of(server) if words(worker)[-1] == scope]
    return found


def words(process: int) -> list[str]:
    return Path("/proc", str(process), "cmdline").read_text().rstrip("\0").split("\0")


def is_there(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return True
    return False


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_whose_worker_dies_is_told_that_its_outcome_is_unknown(
    two_scopes: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    answer = answer_when_worker_dies(two_scopes, tools, new_image(), transport)
    assert (answer.code, answer.reason) == ("unavailable", "OUTCOME_UNKNOWN")
    assert any(detail.DESCRIPTOR.name == "RetryInfo" for detail in answer.details)
    assert "Traceback" not in two_scopes.log.read_text()


def answer_when_worker_dies(server: Server, tools: Tools, image: str, transport: str) -> Answer:
    """Kill the worker while it creates a snapshot."""
    assert create(server, request("rbd", image, "before")).reply
    with ThreadPoolExecutor() as pool, held_up(tools, image) as is_held:
        call = pool.submit(send, server, valid(transport, "test", image, "during"))
        wait_until(lambda: is_held(image))
        os.kill(worker_of(server, "test"), signal.SIGKILL)
        return call.result()


def test_a_retry_settles_it_at_once(two_scopes: Server, tools: Tools, new_image: NewImage) -> None:
    """Ceph, which would give the dead one half a minute, is told that it is dead."""
    image = new_image()
    answer_when_worker_dies(two_scopes, tools, image, "grpc")
    wait_until(lambda: not tools.watchers(f"rbd/{image}"), _SHUT_OUT_WITHIN_SECONDS)
    assert create(two_scopes, request("rbd", image, "during")).code in {None, "already_exists"}
    assert [snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")] == ["before", "during"]


def test_a_worker_that_died_idle_is_missed_by_nobody(two_scopes: Server, new_image: NewImage) -> None:
    image = new_image()
    assert create(two_scopes, request("rbd", image, "before")).reply
    worker, other = worker_of(two_scopes, "test"), worker_of(two_scopes, "other")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_there(worker))
    assert create(two_scopes, request("rbd", image, "after")).reply
    assert worker_of(two_scopes, "other") == other


def test_workers_end_with_their_server_however_it_ends(cluster: DevCluster, tmp_path: Path) -> None:
    with run_server(tmp_path, write_scope("test", cluster), ends_with=-signal.SIGKILL) as server:
        workers = workers_of(server)
        assert len(workers) == 1
        server.process.kill()
        wait_until(lambda: not any(map(is_there, workers)))


def test_what_a_terminal_and_a_service_manager_send_to_all_processes_does_not_end_a_worker(
    two_scopes: Server, new_image: NewImage
) -> None:
    """The server tells it when to end."""
    image = new_image()
    worker = worker_of(two_scopes, "test")
    assert create(two_scopes, request("rbd", image, "before")).reply  # it has begun by then
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker, number)
    assert create(two_scopes, request("rbd", image, "after")).reply
    assert worker_of(two_scopes, "test") == worker


# As systemd's SystemCallFilter=~@resources does, with SystemCallErrorNumber=EPERM.
_WITHOUT_PRIORITIES = """
import ctypes, errno, os, sys
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
allow, refuse = 0x7FFF0000, 0x00050000 | errno.EPERM
rules = ctypes.c_void_p(seccomp.seccomp_init(allow))
for name in (b"setpriority", b"sched_setscheduler", b"sched_setattr", b"ioprio_set", b"setrlimit", b"prlimit64"):
    assert seccomp.seccomp_rule_add(rules, refuse, seccomp.seccomp_syscall_resolve_name(name), 0) == 0
assert seccomp.seccomp_load(rules) == 0
try:
    os.nice(1)
except PermissionError:
    os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_service_manager_that_forbids_priorities_and_limits_stops_nothing(
    cluster: DevCluster, new_image: NewImage, tmp_path: Path
) -> None:
    prefix = (sys.executable, "-c", _WITHOUT_PRIORITIES)
    with run_server(tmp_path, write_scope("test", cluster), prefix=prefix) as server:
        assert create(server, request("rbd", new_image(), "snapshot")).reply


def test_a_worker_that_is_killed_while_it_connects_leaves_nothing(
    cluster: DevCluster, new_image: NewImage, tmp_path: Path
) -> None:
    image = new_image()
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {"TMPDIR": str(folder)}
    with (
        run_server(tmp_path, write_scope("test", cluster), environment=environment) as server,
        ThreadPoolExecutor() as pool,
    ):
        (worker,) = workers_of(server)
        with frozen(cluster.mon):
            call = pool.submit(create, server, request("rbd", image, "snapshot"))
            wait_until(lambda: "ms_dispatch" in threads_of(worker))  # librados is at it
            assert list(folder.iterdir()) == []  # so nobody need be there to remove anything
            os.kill(worker, signal.SIGKILL)
            assert call.result().reason == "OUTCOME_UNKNOWN"
        wait_until(lambda: is_ready(server))
        assert list(folder.iterdir()) == []


def threads_of(process: int) -> set[str]:
    tasks = Path("/proc", str(process), "task").iterdir()
    return {(task / "comm").read_text().strip() for task in tasks}


def test_what_a_worker_made_is_removed_when_it_was_killed_before_it_did_so(cluster: DevCluster) -> None:
    """Between two system calls it has a socket under the temporary directory."""

    async def start_and_kill() -> Path:
        dead = asyncio.Event()
        hello = Init(config_of(cluster), 1)
        process = await child.start(hello, on_stale=lambda _: None, on_death=lambda _: dead.set())
        place = process.admin_socket
        assert place is not None
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
        os.kill(process.process_id, signal.SIGKILL)
        await dead.wait()
        return place

    place = asyncio.run(start_and_kill())
    assert not place.exists()


def test_a_server_that_stops_while_its_cluster_is_away_ends_its_workers_without_an_error(
    cluster: DevCluster, tmp_path: Path
) -> None:
    impatient = ("--ceph-connect-timeout=1", "--ceph-mon-timeout=1", "--listen-drain-timeout=1")
    with frozen(cluster.mon):
        with run_server(tmp_path, write_scope("test", cluster), *impatient) as server:
            assert create(server, request("rbd", "image", "snapshot")).reason == "CONNECT_FAILED"
            refused = len(server.log.read_text().splitlines())
            (worker,) = workers_of(server)
            wait_until(lambda: "ms_dispatch" in threads_of(worker))  # it is probed
        assert "ERROR" not in "\n".join(server.log.read_text().splitlines()[refused:])
