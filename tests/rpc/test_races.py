"""Calls on one image that come at the same time, through two servers: what each is told is what Ceph shows."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conftest import MIB, NewImage
from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Outcome, create, image_request, request
from support.server import Server, run_server
from support.tools import Tools, write_scope


@pytest.fixture(scope="module")
def servers(
    server: Server, cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, ...]]:
    with run_server(tmp_path_factory.mktemp("another"), write_scope("test", cluster)) as another:
        yield (server, another)


def at_once(servers: tuple[Server, ...], *calls: tuple[str, Mapping[str, Any]]) -> list[Outcome]:
    """Make each call through each server, all at the same time."""
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(CALLS["connect"], server, body, rpc) for rpc, body in calls for server in servers]
        return [future.result() for future in futures]


def test_of_many_that_create_an_image_one_does(servers: tuple[Server, ...], tools: Tools) -> None:
    name = "raced-for"
    outcomes = at_once(servers, *[("CreateImage", image_request(name, quotaBytes=MIB))] * 8)
    assert sorted(outcome.reason if outcome.code else "" for outcome in outcomes) == ["", *["IMAGE_EXISTS"] * 15]
    assert tools.rbd_json("info", f"rbd/{name}")["size"] == MIB


def test_of_many_that_delete_an_image_one_does(servers: tuple[Server, ...], tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=5 * MIB)
    outcomes = at_once(servers, *[("DeleteImage", image_request(image))] * 4)
    reasons = [outcome.reason if outcome.code else "" for outcome in outcomes]
    assert reasons.count("") == 1, reasons
    assert set(reasons) <= {"", "IMAGE_NOT_FOUND", "IMAGE_IN_USE"}
    assert image not in tools.rbd_json("ls", "rbd")


def test_an_image_is_deleted_or_has_the_snapshot(
    servers: tuple[Server, ...], tools: Tools, new_image: NewImage
) -> None:
    for _ in range(10):
        image = new_image()
        snapshot = request("rbd", image, "first")
        outcomes = at_once(servers, ("CreateImageSnapshot", snapshot), ("DeleteImage", image_request(image)))
        is_made = any(outcome.reply is not None for outcome in outcomes[:2])
        is_deleted = any(outcome.reply is not None for outcome in outcomes[2:])
        assert is_made != is_deleted, outcomes
        assert (image in tools.rbd_json("ls", "rbd")) != is_deleted
        if is_made:
            assert tools.snapshots(f"rbd/{image}")


def test_a_snapshot_is_deleted_or_protected(servers: tuple[Server, ...], tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    for number in range(10):
        body = request("rbd", image, f"s{number}")
        assert create(servers[0], body).reply
        outcomes = at_once(servers, ("ProtectImageSnapshot", body), ("DeleteImageSnapshot", body))
        is_protected = any(outcome.reply is not None for outcome in outcomes[:2])
        is_deleted = any(outcome.reply is not None for outcome in outcomes[2:])
        assert is_protected != is_deleted, outcomes
        found = [
            snapshot["protected"] for snapshot in tools.snapshots(f"rbd/{image}") if snapshot["name"] == f"s{number}"
        ]
        assert found == (["true"] if is_protected else [])


def test_of_those_that_delete_and_create_a_snapshot_each_is_told_the_truth(
    servers: tuple[Server, ...], tools: Tools, new_image: NewImage
) -> None:
    """It is made as often as it is deleted, or once more, and then it is there."""
    image = new_image()
    body = request("rbd", image, "first")
    outcomes = at_once(servers, *[("CreateImageSnapshot", body), ("DeleteImageSnapshot", body)] * 6)
    reasons = {outcome.reason for outcome in outcomes if outcome.code}
    assert reasons <= {"SNAPSHOT_EXISTS", "SNAPSHOT_NOT_FOUND"}
    made = sum("quotaBytes" in (outcome.reply or {}) for outcome in outcomes)
    deleted = sum(outcome.reply == {} for outcome in outcomes)
    assert made - deleted == len(tools.snapshots(f"rbd/{image}"))
