"""Calls on one image that come at the same time, through two servers: what each is told is what Ceph shows."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Outcome, create, image_request, request
from support.images import MIB, NewImage
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
    for _ in range(5):
        image = new_image(written=5 * MIB)
        outcomes = at_once(servers, *[("DeleteImage", image_request(image))] * 4)
        assert sorted(outcome.reason if outcome.code else "" for outcome in outcomes) == ["", *["IMAGE_NOT_FOUND"] * 7]
        assert image not in tools.rbd_json("ls", "rbd")
        assert image not in tools.rbd("trash", "ls", "--all", "rbd")


def test_a_deletion_that_takes_longer_than_a_lease_stays_alone(servers: tuple[Server, ...], tools: Tools) -> None:
    tools.rbd("create", "--size", "160M", "--object-size", "4K", "--image-feature", "layering", "of-many-objects")
    outcomes = at_once(servers, ("DeleteImage", image_request("of-many-objects")))
    reasons = {outcome.reason if outcome.code else "" for outcome in outcomes}
    assert reasons in ({"", "IMAGE_LOCKED"}, {"", "IMAGE_NOT_FOUND"})


def test_a_server_that_is_gone_keeps_no_other_from_deleting_for_longer_than_its_lease(
    servers: tuple[Server, ...], tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    lock = f"rbd-connect.{sha256(image.encode()).hexdigest()[:32]}"
    call = CALLS["connect"]
    with tools.ioctx() as ioctx:
        ioctx.lock_exclusive("rbd_directory", lock, "of a server that lives", "", 60, 0)
        outcome = call(servers[0], image_request(image), "DeleteImage")
        assert (outcome.code, outcome.reason) == ("unavailable", "IMAGE_LOCKED")
        assert image in tools.rbd_json("ls", "rbd")
        ioctx.unlock("rbd_directory", lock, "of a server that lives")
        ioctx.lock_exclusive("rbd_directory", lock, "of one that is gone", "", 3, 0)
        assert call(servers[0], image_request(image), "DeleteImage").reply == {}


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
