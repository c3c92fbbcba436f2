"""ListPools: every field of every pool is what `ceph` prints."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Call
from support.places import mon_command
from support.server import Server
from support.tools import Tools, frozen
from support.waiting import wait_until

every_call = pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])


def pools(call: Call, server: Server, application: str | None = None) -> list[dict[str, Any]]:
    body = {"scope": "test"} | ({} if application is None else {"application": application})
    outcome = call(server, body, "ListPools")
    assert outcome.reply is not None, outcome
    return list(outcome.reply.get("pools", []))


def printed_pools(names: Collection[str], tools: Tools) -> list[dict[str, Any]]:
    """Pools as `ceph` prints them, in the words of the reply. `ceph df` lacks one that was made just now."""
    listed = json.loads(tools.ceph("osd", "pool", "ls", "detail", "--format", "json"))
    df = json.loads(tools.ceph("df", "detail", "--format", "json"))["pools"]
    return [printed_pool(pool, df, tools) for pool in listed if pool["pool_name"] in names]


def printed_pool(pool: Mapping[str, Any], df: Iterable[Mapping[str, Any]], tools: Tools) -> dict[str, Any]:
    name = str(pool["pool_name"])
    stats = next((found["stats"] for found in df if found["name"] == name), None)
    groups = json.loads(tools.ceph("pg", "ls-by-pool", name, "--format", "json"))["pg_stats"]
    states = [group["state"] for group in groups]
    if pool["erasure_code_profile"]:
        words = tools.ceph("osd", "erasure-code-profile", "get", pool["erasure_code_profile"]).split()
        profile = dict(word.split("=") for word in words)
        kind = {
            "poolType": "ERASURE",
            "dataChunks": profile["k"],
            "codingChunks": profile["m"],
            "ecOverwrites": "ec_overwrites" in pool["flags_names"],
        }
    else:
        kind = {"poolType": "REPLICATED", "replicatedSize": str(pool["size"])}
    used = stats and {
        "usedBytes": str(stats["bytes_used"]),
        "usedObjects": str(stats["objects"]),
        "maxBytes": str(stats["max_avail"]),
    }
    return (
        kind
        | (used or {})
        | {
            "id": str(pool["pool_id"]),
            "name": name,
            "updating": False,
            "quotaBytes": str(pool["quota_max_bytes"]),
            "quotaObjects": str(pool["quota_max_objects"]),
            "placementGroupCount": str(pool["pg_num"]),
            "placementGroupState": {state: str(states.count(state)) for state in states},
            "createdAt": pool["create_time"].replace("+0000", "Z"),
            "applications": sorted(pool["application_metadata"]),
        }
    )


def test_a_pool_that_gets_more_placement_groups_is_updating(server: Server, tools: Tools, cluster: DevCluster) -> None:
    cluster.create_pool("growing")
    tools.ceph("osd", "pool", "set", "growing", "pg_autoscale_mode", "off")
    call = CALLS["connect"]

    def growing() -> dict[str, Any]:
        (pool,) = [pool for pool in pools(call, server) if pool["name"] == "growing"]
        return pool

    with frozen(cluster.osd):
        tools.ceph("osd", "pool", "set", "growing", "pg_num", "16")
        assert growing()["updating"]
    wait_until(lambda: not growing()["updating"])
    assert growing()["placementGroupCount"] == "16"
    cluster.delete_pool("growing")


def test_of_a_pool_that_was_made_just_now_what_is_used_is_unknown_until_ceph_says_so(
    server: Server, tools: Tools, cluster: DevCluster
) -> None:
    figures = {"usedBytes", "usedObjects", "maxBytes"}

    def known() -> set[str]:
        (pool,) = [pool for pool in pools(CALLS["connect"], server) if pool["name"] == "new"]
        return figures & pool.keys()

    with frozen(cluster.daemons["mgr.x"]):
        tools.ceph("osd", "pool", "create", "new", "1")
        assert known() == set()
    wait_until(lambda: known() == figures)
    cluster.delete_pool("new")


def test_without_a_manager_pools_are_listed_without_their_states(
    server: Server, tools: Tools, cluster: DevCluster
) -> None:
    call = CALLS["connect"]
    assert pools(call, server)[0]["placementGroupState"]
    with frozen(cluster.daemons["mgr.x"]):
        found = pools(call, server)
    assert {"name", "poolType", "maxBytes"} <= found[0].keys()
    wait_until(lambda: pools(call, server)[0].get("placementGroupState"))
    assert tools.ceph("osd", "pool", "ls").split() == [pool["name"] for pool in pools(call, server)]


def test_where_there_is_no_manager_pools_are_listed_all_the_same(server: Server, cluster: DevCluster) -> None:
    cluster.kill("mgr.x")
    try:
        assert {"name", "poolType", "maxBytes"} <= pools(CALLS["connect"], server)[0].keys()
    finally:
        cluster.revive("mgr.x")


def test_beside_a_pool_whose_name_is_not_utf_8_all_others_are_listed(server: Server, cluster: DevCluster) -> None:
    """`ceph` can neither make one nor tag it."""
    before = [pool["name"] for pool in pools(CALLS["connect"], server)]
    mon_command(cluster, b'{"prefix": "osd pool create", "pg_num": 1, "pool": "odd-\xff"}')
    mon_command(cluster, b'{"prefix": "osd pool application enable", "app": "rbd", "pool": "odd-\xff"}')
    assert b"odd-\xff" in mon_command(cluster, b'{"prefix": "osd pool ls"}')
    try:
        for call in CALLS.values():
            assert [pool["name"] for pool in pools(call, server)] == before
            outcome = call(server, {"scope": "test"}, "ListImages")
            assert outcome.reply is not None, outcome
        assert r"pool 'odd-\xff' is not listed" in server.log.read_text()
    finally:
        yes = b'"pool": "odd-\xff", "pool2": "odd-\xff", "yes_i_really_really_mean_it": true'
        mon_command(cluster, b'{"prefix": "osd pool delete", ' + yes + b"}")


@pytest.fixture(scope="module")
def varied(tools: Tools, cluster: DevCluster) -> Iterator[list[str]]:
    """Pools of each kind, with and without quotas and applications."""
    cluster.create_pool("with-quota")
    tools.ceph("osd", "pool", "set-quota", "with-quota", "max_bytes", str(1 << 30))
    tools.ceph("osd", "pool", "set-quota", "with-quota", "max_objects", "1000")
    tools.ceph("osd", "erasure-code-profile", "set", "four-two", "k=4", "m=2", "crush-failure-domain=osd")
    tools.ceph("osd", "pool", "create", "erasure", "2", "2", "erasure", "four-two")
    tools.ceph("osd", "pool", "set", "erasure", "allow_ec_overwrites", "true")
    tools.ceph("osd", "pool", "application", "enable", "erasure", "rbd")
    tools.ceph("osd", "pool", "create", "without-application", "1")
    yield ["with-quota", "erasure", "without-application"]
    for pool in ("with-quota", "erasure", "without-application"):
        cluster.delete_pool(pool)


@every_call
def test_every_field_of_every_pool_is_what_ceph_prints(
    call: Call, server: Server, tools: Tools, varied: list[str]
) -> None:
    chosen = {"rbd", *varied}

    def is_told() -> bool:
        """Say so; where the figures just changed, or are not there yet, they are asked again."""
        told = [without_empty(pool) for pool in pools(call, server) if pool["name"] in chosen]
        printed = [without_empty(pool) for pool in printed_pools(chosen, tools)]
        return told == printed and all("maxBytes" in pool for pool in printed)

    wait_until(is_told)
    names = [pool["name"] for pool in pools(call, server)]
    assert set(varied) < set(names)
    assert names.index("rbd") == 0


def without_empty(pool: Mapping[str, Any]) -> dict[str, Any]:
    """Take away what JSON leaves out, and zeros after the seconds' point."""
    kept = {field: value for field, value in pool.items() if value not in ([], {})}
    seconds, point, rest = kept["createdAt"].rstrip("Z").partition(".")
    return kept | {"createdAt": f"{seconds}{point}{rest.rstrip('0')}"}


@every_call
def test_pools_are_chosen_by_application(call: Call, server: Server, varied: list[str]) -> None:
    everything = {pool["name"] for pool in pools(call, server, "")}
    assert set(varied) < everything
    of_rbd = {pool["name"] for pool in pools(call, server, "rbd")}
    assert {"rbd", "with-quota", "erasure"} <= of_rbd
    assert "without-application" not in of_rbd
    assert pools(call, server, "nothing") == []


def test_a_scope_that_does_not_exist_is_told(server: Server) -> None:
    for call in CALLS.values():
        assert call(server, {"scope": "nowhere"}, "ListPools").reason == "SCOPE_NOT_FOUND"
        assert call(server, {}, "ListPools").reason == "INVALID_NAME"
