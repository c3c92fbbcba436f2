"""Every method, called for real by a client that knows the contract's numbers and no names.

What it reads is what `rbd` and `ceph` print.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.by_number import CALLS_BY_NUMBER, CallByNumber
from support.clients import post
from support.images import MIB, NewImage
from support.server import Server
from support.tools import Tools
from support.waiting import wait_until

KIB = 1 << 10
POOL = "by-number"
NAMESPACE = "team"
ERASURE_POOL = "by-number-in-chunks"
FEATURES = {41: "layering", 42: "exclusive-lock", 43: "object-map", 44: "fast-diff", 45: "deep-flatten"}

Fields = Mapping[int, Any]

by_every_transport = pytest.mark.parametrize("transport", CALLS_BY_NUMBER)
pytestmark = pytest.mark.usefixtures("pool")


@pytest.fixture(scope="module")
def pool(cluster: DevCluster, tools: Tools) -> Iterator[None]:
    """Make a pool with a namespace and quotas."""
    cluster.create_pool(POOL)
    tools.rbd("namespace", "create", f"{POOL}/{NAMESPACE}")
    tools.ceph("osd", "pool", "set-quota", POOL, "max_bytes", str(1 << 30))
    tools.ceph("osd", "pool", "set-quota", POOL, "max_objects", "10000")
    yield
    cluster.delete_pool(POOL)


@pytest.fixture
def erasure_pool(cluster: DevCluster, tools: Tools) -> Iterator[None]:
    """Make a pool for which there are not OSDs enough. While it is there, nothing can be unprotected: librbd looks for
    children in every pool.
    """
    tools.ceph("osd", "erasure-code-profile", "set", "two-and-one", "k=2", "m=1", "crush-failure-domain=osd")
    tools.ceph("osd", "pool", "create", ERASURE_POOL, "1", "1", "erasure", "two-and-one")
    tools.ceph("osd", "pool", "set", ERASURE_POOL, "allow_ec_overwrites", "true")
    for application in ("archive", "backup"):
        tools.ceph("osd", "pool", "application", "enable", ERASURE_POOL, application, "--yes-i-really-mean-it")
    yield
    cluster.delete_pool(ERASURE_POOL)


def write(tools: Tools, image: str, content: bytes, offset: int = 0, *, namespace: str = "") -> None:
    with tools.ioctx(POOL, namespace) as ioctx, rbd.Image(ioctx, image) as opened:
        opened.write(content, offset)


def check_begins_with(tools: Tools, image: str, content: bytes) -> None:
    with tools.ioctx(POOL) as ioctx, rbd.Image(ioctx, image, read_only=True) as opened:
        assert opened.read(0, len(content)) == content


def printed_image(tools: Tools, pool: str, name: str) -> Fields:
    """An image as `rbd info`, `rbd snap ls` and `rbd du` print it, by the contract's numbers."""
    info = tools.rbd_json("info", f"{pool}/{name}")
    used = {row.get("snapshot"): row["used_size"] for row in tools.rbd_json("du", f"{pool}/{name}")["images"]}
    return {
        1: name,
        11: pool,
        21: info["object_size"],
        22: info.get("stripe_unit", info["object_size"]),
        23: info.get("stripe_count", 1),
        31: info["size"],
        32: used[None],
        33: info["objects"],
        **{number: feature in info["features"] for number, feature in FEATURES.items()},
        51: datetime.strptime(info["create_timestamp"], "%c").astimezone(UTC),
        101: [
            {1: snapshot["name"], 2: snapshot["protected"] == "true", 3: snapshot["size"], 4: used[snapshot["name"]]}
            for snapshot in tools.snapshots(f"{pool}/{name}")
        ],
    }


def printed_pools(tools: Tools) -> list[Fields]:
    """The pools as `ceph osd pool ls`, `ceph df`, `ceph pg dump` and so on print them, by the contract's numbers."""
    used = {pool["id"]: pool["stats"] for pool in json.loads(tools.ceph("df", "detail", "--format=json"))["pools"]}
    states = Counter(
        (int(group["pgid"].partition(".")[0]), group["state"])
        for group in json.loads(tools.ceph("pg", "dump", "pgs_brief", "--format=json"))["pg_stats"]
    )
    printed = []
    for pool in json.loads(tools.ceph("osd", "pool", "ls", "detail", "--format=json")):
        number, profile = pool["pool_id"], pool["erasure_code_profile"]
        printed.append(
            {
                1: number,
                2: pool["pool_name"],
                3: pool["pg_num"] != pool["pg_num_target"],
                **(chunks(tools, profile) if profile else {11: 2, 31: pool["size"]}),
                41: pool["quota_max_bytes"],
                42: pool["quota_max_objects"],
                **({43: of["bytes_used"], 44: of["objects"], 45: of["max_avail"]} if (of := used.get(number)) else {}),
                51: pool["pg_num"],
                52: {state: groups for (of_pool, state), groups in states.items() if of_pool == number},
                61: datetime.fromisoformat(pool["create_time"]),
                71: sorted(pool["application_metadata"]),
            }
        )
    return sorted(printed, key=lambda fields: fields[1])


def chunks(tools: Tools, profile: str) -> Fields:
    printed = json.loads(tools.ceph("osd", "erasure-code-profile", "get", profile, "--format=json"))
    return {11: 1, 21: True, 22: int(printed["k"]), 23: int(printed["m"])}


@by_every_transport
def test_the_life_of_an_image(server: Server, tools: Tools, transport: str) -> None:
    call, image = CALLS_BY_NUMBER[transport], f"born-by-{transport}"
    pool = f"{POOL}/{NAMESPACE}"
    which = {1: "test", 3: pool, 4: image}
    features = {31: True, 32: True, 33: True, 34: True, 35: False}
    created = call(server, "CreateImage", {**which, 11: MIB, 12: 64 * KIB, 13: 4, 21: 20 * MIB, **features})
    assert created == printed_image(tools, pool, image)
    assert [created[number] for number in (21, 22, 23, 31, 32, 33)] == [MIB, 64 * KIB, 4, 20 * MIB, 0, 20]
    assert [created[number] for number in FEATURES] == [True, True, True, True, False]

    write(tools, image, b"x" * 5 * MIB, namespace=NAMESPACE)
    updated = call(server, "UpdateImage", {**which, 11: 24 * MIB})
    assert updated == printed_image(tools, pool, image) == {**created, 31: 24 * MIB, 32: updated[32], 33: 24}
    assert updated[32] >= 5 * MIB

    assert call(server, "DeleteImage", which) == {}
    assert image not in tools.rbd_json("ls", pool)


@by_every_transport
def test_the_life_of_a_snapshot(server: Server, tools: Tools, new_image: NewImage, transport: str) -> None:
    call, image = CALLS_BY_NUMBER[transport], new_image(pool=POOL)
    which = {1: "test", 3: POOL, 4: image, 5: "first"}
    write(tools, image, b"before")
    created = call(server, "CreateImageSnapshot", which)
    assert [created] == printed_image(tools, POOL, image)[101]
    assert created == {1: "first", 2: False, 3: 16 * MIB, 4: 4 * MIB}

    for rpc, is_protected in (("ProtectImageSnapshot", "true"), ("UnprotectImageSnapshot", "false")):
        assert call(server, rpc, which) == {}
        assert tools.snapshot(f"{POOL}/{image}", "first")["protected"] == is_protected

    write(tools, image, b"after!")
    assert call(server, "RollbackImageSnapshot", which) == {}
    check_begins_with(tools, image, b"before")

    assert call(server, "DeleteImageSnapshot", which) == {}
    assert tools.snapshots(f"{POOL}/{image}") == []


@by_every_transport
def test_images(server: Server, tools: Tools, new_image: NewImage, transport: str) -> None:
    image = new_image(pool=POOL, written=1)
    new_image(pool=POOL, namespace=NAMESPACE)
    for snapshot in ("first", "second"):
        tools.rbd("snap", "create", "--no-progress", f"{POOL}/{image}@{snapshot}")
        write(tools, image, b"y" * 5 * MIB, 4 * MIB)
    tools.rbd("snap", "protect", f"{POOL}/{image}@second")

    listed = CALLS_BY_NUMBER[transport](server, "ListImages", {1: "test"})[1]
    printed = [
        printed_image(tools, pool, name) for pool in (POOL, f"{POOL}/{NAMESPACE}") for name in names(tools, pool)
    ]
    assert [fields for fields in listed if fields[11].partition("/")[0] == POOL] == printed
    assert {fields[11] for fields in listed if fields[1] == image} == {POOL}


def names(tools: Tools, pool: str) -> list[str]:
    return sorted(tools.rbd_json("ls", pool))


@pytest.mark.usefixtures("erasure_pool")
def test_pools(server: Server, tools: Tools) -> None:
    for call in CALLS_BY_NUMBER.values():
        # What a pool uses, and the states, are told by the OSD a moment later.
        wait_until(partial(pools_are_as_printed, call, server, tools))
        found = {fields[2]: fields for fields in call(server, "ListPools", {1: "test"})[1]}
        assert [found[POOL][number] for number in (41, 42, 71)] == [1 << 30, 10_000, ["rbd"]]
        assert [found[ERASURE_POOL][number] for number in (22, 23, 71)] == [2, 1, ["archive", "backup"]]
        tagged = call(server, "ListPools", {1: "test", 11: "archive"})[1]
        assert [fields[2] for fields in tagged] == [ERASURE_POOL]


def pools_are_as_printed(call: CallByNumber, server: Server, tools: Tools) -> bool:
    return bool(call(server, "ListPools", {1: "test"}) == {1: printed_pools(tools)})


def test_json_has_64_bits_as_strings_and_takes_numbers_too(server: Server, tools: Tools) -> None:
    request = {
        "scope": "test",
        "poolName": POOL,
        "imageName": "in-json",
        "objectSizeBytes": MIB,
        "quotaBytes": "5000000",
    }
    status, body = post(f"{server.url}/otterscale.storage.v1.StorageService/CreateImage", json.dumps(request))
    assert status == 200, body
    printed = printed_image(tools, POOL, "in-json")
    assert json.loads(body) == {
        "name": "in-json",
        "poolName": POOL,
        "objectSizeBytes": str(MIB),
        "stripeUnitBytes": str(MIB),
        "stripeCount": "1",
        "quotaBytes": "5000000",
        "usedBytes": "0",
        "objectCount": "5",
        "layering": printed[41],
        "exclusiveLock": printed[42],
        "objectMap": printed[43],
        "fastDiff": printed[44],
        "deepFlatten": printed[45],
        "createdAt": printed[51].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
