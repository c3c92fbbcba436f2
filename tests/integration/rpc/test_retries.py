"""Calls whose outcome is unknown: what each is told that a retry would do, and that this is so."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from rbd_connect.rpc.retries import REPEATED
from support.clients import CALLS, Outcome, create, image_request, in_time, request
from support.images import MIB, NewImage
from support.server import Server, run_server, workers_of
from support.tools import Tools, held_up, write_scope
from support.waiting import wait_until

# Whether an error says by RetryInfo that the same call may be sent again.
CHANGES = {"CreateImageSnapshot": True, "RollbackImageSnapshot": False, "UpdateImage": False}


@pytest.fixture(scope="module")
def own(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose worker may be killed."""
    with run_server(tmp_path_factory.mktemp("retries"), write_scope("test", cluster)) as server:
        yield server


def body_of(rpc: str, image: str) -> dict[str, Any]:
    if rpc == "UpdateImage":
        return image_request(image, quotaBytes=MIB)
    return request("rbd", image, "second" if rpc == "CreateImageSnapshot" else "first")


def assert_told(outcome: Outcome, code: str, rpc: str) -> None:
    assert (outcome.code, outcome.reason) == (code, "OUTCOME_UNKNOWN")
    assert outcome.message.endswith(f" It may still be done. {REPEATED[rpc].advice}")
    assert outcome.details.get("RetryInfo") == ({"retryDelay": "1s"} if CHANGES[rpc] else None)


@pytest.mark.parametrize("rpc", CHANGES)
def test_a_deadline_that_passes_says_what_a_retry_would_do(
    rpc: str, own: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    assert create(own, request("rbd", image, "first")).reply
    with held_up(tools, image):
        assert_told(in_time(own, body_of(rpc, image), rpc, 1.0), "deadline_exceeded", rpc)


@pytest.mark.parametrize("rpc", CHANGES)
def test_a_process_that_dies_says_what_a_retry_would_do(
    rpc: str, own: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    assert create(own, request("rbd", image, "first")).reply
    wait_until(lambda: len(workers_of(own)) == 1)
    with ThreadPoolExecutor() as pool, held_up(tools, image) as is_held:
        call = pool.submit(CALLS["grpc"], own, body_of(rpc, image), rpc)
        wait_until(lambda: is_held(image))
        os.kill(workers_of(own)[0], signal.SIGKILL)
        assert_told(call.result(), "unavailable", rpc)


def test_a_rollback_that_is_sent_again_loses_what_was_written_in_between(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image(written=MIB)
    body = request("rbd", image, "first")
    assert create(server, body).reply
    assert CALLS["connect"](server, body, "RollbackImageSnapshot").reply == {}
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
        opened.write(b"y" * MIB, 0)
    assert CALLS["connect"](server, body, "RollbackImageSnapshot").reply == {}
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image, read_only=True) as opened:
        assert opened.read(0, MIB) == b"x" * MIB
