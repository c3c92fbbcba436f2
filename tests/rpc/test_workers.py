"""Worker processes: one a scope; when one dies its calls are told so, the next call gets another, and none is left."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import NewImage
from rbd_connect.devcluster import DevCluster
from support.clients import create, request
from support.server import Server, held_up, run_server, workers_of
from support.tools import Tools, is_open, wait_until, write_scope
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
    cluster: DevCluster, two_scopes: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    answer = answer_when_worker_dies(cluster, two_scopes, tools, new_image(), transport)
    assert (answer.code, answer.reason) == ("unavailable", "OUTCOME_UNKNOWN")
    assert any(detail.DESCRIPTOR.name == "RetryInfo" for detail in answer.details)
    assert "Traceback" not in two_scopes.log.read_text()


def answer_when_worker_dies(cluster: DevCluster, server: Server, tools: Tools, image: str, transport: str) -> Answer:
    """Kill the worker while it creates a snapshot."""
    assert create(server, request("rbd", image, "before")).reply
    with ThreadPoolExecutor() as pool, tools.ioctx() as ioctx, held_up(server, cluster):
        call = pool.submit(send, server, valid(transport, "test", image, "during"))
        wait_until(lambda: is_open(ioctx, image))
        os.kill(worker_of(server, "test"), signal.SIGKILL)
        return call.result()


def test_a_retry_settles_it_at_once(cluster: DevCluster, two_scopes: Server, tools: Tools, new_image: NewImage) -> None:
    """Ceph, which would give the dead one half a minute, is told that it is dead."""
    image = new_image()
    answer_when_worker_dies(cluster, two_scopes, tools, image, "grpc")
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
