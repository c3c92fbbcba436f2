"""A worker process that does nothing more is killed, and another takes its place; and one that cannot be started."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from rbd_connect.devcluster import DevCluster
from rbd_connect.dispatch.operations import Operations
from rbd_connect.dispatch.worker import process as child
from rbd_connect.dispatch.worker.supervisor import Supervisor
from rbd_connect.model.errors import RetryableError
from rbd_connect.model.names import SnapshotSpec
from support.cluster import config_of
from support.images import NewImage
from support.tools import Tools


def _process(scope: str) -> int:
    """The worker of a scope."""
    (found,) = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.read_bytes().split(b"\0")[-2:-1] == [scope.encode()]
    ]
    return found


def test_it_is_replaced_and_its_calls_are_told(
    cluster: DevCluster, tools: Tools, new_image: NewImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = new_image()
    scope = f"stuck-{uuid4().hex}"
    spec = SnapshotSpec(scope=scope, pool="rbd", namespace="", image=image, snapshot="after")

    async def freeze_and_call() -> None:
        worker = Supervisor(config_of(cluster, scope), 4)
        await worker.run(Operations.probe)
        monkeypatch.setattr(child, "_PING_SECONDS", 0.1)
        os.kill(_process(scope), signal.SIGSTOP)
        with pytest.raises(RetryableError) as told:
            await worker.run(Operations.create_snapshot, spec, 0)
        assert told.value.reason == "OUTCOME_UNKNOWN"
        monkeypatch.setattr(child, "_PING_SECONDS", 1.0)
        await worker.run(Operations.create_snapshot, spec, 0)
        await worker.stop()

    asyncio.run(freeze_and_call())
    assert tools.snapshot(f"rbd/{image}", "after")


def test_a_call_for_which_no_process_can_be_started_is_told_to_try_again(
    cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call() -> None:
        worker = Supervisor(config_of(cluster), 4)
        with monkeypatch.context() as without:
            without.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(RetryableError) as told:
                await worker.run(Operations.probe)
        assert told.value.reason == "SERVER_EXHAUSTED"
        await worker.run(Operations.probe)
        await worker.stop()

    asyncio.run(call())
