"""A name means what it means now, whatever librados' own map still says. While a call waits, it may change."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Outcome, image_request, request
from support.server import Server
from support.tools import Tools, held_up
from support.waiting import wait_until

IMAGE = "image"


def called(server: Server, rpc: str, pool: str, snapshot: str | None = None, **size: int) -> Outcome:
    body = {**image_request(IMAGE, pool), **size} if snapshot is None else request(pool, IMAGE, snapshot)
    return CALLS["connect"](server, body, rpc)


def snapshots(tools: Tools, pool: str) -> list[str]:
    return [snapshot["name"] for snapshot in tools.snapshots(f"{pool}/{IMAGE}")]


def swap(tools: Tools, one: str, other: str) -> None:
    for old, new in ((one, "aside"), (other, one), ("aside", other)):
        tools.ceph("osd", "pool", "rename", old, new)


@pytest.fixture
def pools(cluster: DevCluster, tools: Tools, server: Server) -> Iterator[tuple[str, str]]:
    """Two pools with an image each, of one name. The server has used both."""
    pools = ("left", "right")
    for pool in pools:
        cluster.create_pool(pool)
        tools.rbd("create", "--size", "16M", f"{pool}/{IMAGE}")
        tools.rbd("snap", "create", "--no-progress", f"{pool}/{IMAGE}@of-{pool}")
        assert called(server, "ProtectImageSnapshot", pool, f"of-{pool}").reply == {}
        assert called(server, "UnprotectImageSnapshot", pool, f"of-{pool}").reply == {}
    yield pools
    for pool in pools:
        cluster.delete_pool(pool)


class TestSwappedPools:
    """In ``left`` is now what was in ``right``."""

    @pytest.fixture(autouse=True)
    def _swapped(self, tools: Tools, pools: tuple[str, str]) -> None:
        swap(tools, *pools)

    def test_a_snapshot_is_made_where_the_name_leads(self, server: Server, tools: Tools) -> None:
        assert called(server, "CreateImageSnapshot", "left", "new").reply
        assert snapshots(tools, "left") == ["of-right", "new"]
        assert snapshots(tools, "right") == ["of-left"]

    def test_a_snapshot_is_deleted_where_the_name_leads(self, server: Server, tools: Tools) -> None:
        assert called(server, "DeleteImageSnapshot", "left", "of-left").reason == "SNAPSHOT_NOT_FOUND"
        assert called(server, "DeleteImageSnapshot", "left", "of-right").reply == {}
        assert (snapshots(tools, "left"), snapshots(tools, "right")) == ([], ["of-left"])

    def test_an_image_is_changed_where_the_name_leads(self, server: Server, tools: Tools) -> None:
        assert called(server, "RollbackImageSnapshot", "left", "of-left").reason == "SNAPSHOT_NOT_FOUND"
        assert called(server, "UpdateImage", "left", quotaBytes=32 << 20).reply
        sizes = [tools.rbd_json("info", f"{pool}/{IMAGE}")["size"] >> 20 for pool in ("left", "right")]
        assert sizes == [32, 16]

    def test_an_image_is_deleted_where_the_name_leads(self, server: Server, tools: Tools) -> None:
        tools.rbd("snap", "purge", "--no-progress", f"left/{IMAGE}")
        assert called(server, "DeleteImage", "left").reply == {}
        assert tools.rbd_json("ls", "left") == []
        assert snapshots(tools, "right") == ["of-left"]

    def test_lists_tell_the_names_of_now(self, server: Server) -> None:
        images = CALLS["connect"](server, {"scope": "test"}, "ListImages").reply
        assert images is not None
        told = {image["poolName"]: image.get("snapshots", []) for image in images["images"] if image["name"] == IMAGE}
        assert {pool: [snapshot["name"] for snapshot in told[pool]] for pool in ("left", "right")} == {
            "left": ["of-right"],
            "right": ["of-left"],
        }


def test_a_name_that_was_given_up_leads_nowhere(server: Server, tools: Tools, pools: tuple[str, str]) -> None:
    tools.ceph("osd", "pool", "rename", pools[0], "elsewhere")
    assert called(server, "DeleteImage", pools[0]).reason == "POOL_NOT_FOUND"
    assert called(server, "CreateImage", pools[0], quotaBytes=1 << 20).reason == "POOL_NOT_FOUND"
    assert called(server, "CreateImageSnapshot", "elsewhere", "new").reply
    tools.ceph("osd", "pool", "rename", "elsewhere", pools[0])


def test_a_pool_that_was_made_anew_is_another(
    server: Server, cluster: DevCluster, tools: Tools, pools: tuple[str, str]
) -> None:
    cluster.delete_pool(pools[0])
    assert called(server, "CreateImageSnapshot", pools[0], "new").reason == "POOL_NOT_FOUND"
    cluster.create_pool(pools[0])
    assert called(server, "CreateImageSnapshot", pools[0], "new").reason == "IMAGE_NOT_FOUND"
    tools.rbd("create", "--size", "16M", f"{pools[0]}/{IMAGE}")
    assert called(server, "CreateImageSnapshot", pools[0], "new").reply
    assert snapshots(tools, pools[0]) == ["new"]


def test_clones_are_told_by_the_names_of_now(server: Server, tools: Tools, pools: tuple[str, str]) -> None:
    parent = f"{pools[0]}/{IMAGE}@of-{pools[0]}"
    tools.rbd("snap", "protect", parent)
    tools.rbd("clone", "--rbd-default-clone-format=1", parent, f"{pools[1]}/clone")
    assert called(server, "UnprotectImageSnapshot", *split(parent)).reason == "SNAPSHOT_HAS_CLONES"
    tools.ceph("osd", "pool", "rename", pools[1], "renamed")
    outcome = called(server, "UnprotectImageSnapshot", *split(parent))
    (clone,) = outcome.details["PreconditionFailure"]["violations"]
    assert clone["subject"] == "renamed/clone"
    tools.rbd("rm", "--no-progress", "renamed/clone")
    tools.ceph("osd", "pool", "rename", "renamed", pools[1])


def split(snapshot: str) -> tuple[str, str]:
    place, _, name = snapshot.partition("@")
    return place.partition("/")[0], name


@pytest.mark.parametrize("rpc", ["CreateImageSnapshot", "DeleteImageSnapshot", "RollbackImageSnapshot"])
def test_a_pool_that_is_renamed_while_a_call_waits_is_not_touched(
    server: Server, tools: Tools, pools: tuple[str, str], rpc: str
) -> None:
    name = "new" if rpc == "CreateImageSnapshot" else f"of-{pools[0]}"
    with ThreadPoolExecutor() as threads:
        with held_up(tools, IMAGE, pool=pools[0]) as is_held:
            call = threads.submit(called, server, rpc, pools[0], name)
            wait_until(lambda: is_held(IMAGE))
            swap(tools, *pools)
        outcome = call.result()
    assert (outcome.code, outcome.reason) == ("aborted", "NAME_CHANGED")
    assert "RetryInfo" in outcome.details
    assert (snapshots(tools, pools[0]), snapshots(tools, pools[1])) == ([f"of-{pools[1]}"], [f"of-{pools[0]}"])


def test_an_image_that_is_renamed_while_a_call_waits_is_not_touched(
    server: Server, tools: Tools, pools: tuple[str, str]
) -> None:
    place = f"{pools[0]}/{IMAGE}"
    with ThreadPoolExecutor() as threads:
        with held_up(tools, IMAGE, pool=pools[0]) as is_held:
            call = threads.submit(called, server, "DeleteImageSnapshot", pools[0], f"of-{pools[0]}")
            wait_until(lambda: is_held(IMAGE))
            tools.rbd("rename", place, f"{pools[0]}/other")
            tools.rbd("create", "--size", "16M", place)
            tools.rbd("snap", "create", "--no-progress", f"{place}@of-{pools[0]}")
        outcome = call.result()
    assert (outcome.code, outcome.reason) == ("aborted", "NAME_CHANGED")
    assert len(tools.snapshots(f"{pools[0]}/other")) == len(tools.snapshots(place)) == 1
