"""A server whose connection is lost, whose key is rotated, whose cluster is down or has moved: it goes on by itself."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, create, image_request, request
from support.cluster import CAPS, QUICK, booted
from support.images import MIB, NewImage
from support.server import Server, descriptors_of, run_server, workers_of
from support.tools import Tools, write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, send, valid

USER = "client.healing"
IMPATIENT = ("--ceph-connect-timeout=2", "--ceph-mon-timeout=5", "--ceph-osd-timeout=5")


@pytest.fixture(scope="module")
def healing(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is the only client of its Ceph user."""
    cluster.create_user(USER, **CAPS)
    settings = write_scope("test", cluster, [f'client = "{USER}"'])
    with run_server(tmp_path_factory.mktemp("healing"), settings) as server:
        yield server


def blocklist(tools: Tools) -> None:
    """What happens to a client that another took for dead."""
    for address in tools.addresses(USER):
        tools.ceph("osd", "blocklist", "add", address)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_that_was_blocklisted_is_replaced_by_the_next_call(
    healing: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    image = new_image()
    assert create(healing, request("rbd", image, "before")).reply
    blocklist(tools)
    assert send(healing, valid(transport, "test", image, "after")).code is None
    assert tools.snapshot(f"rbd/{image}", "after")


def test_calls_in_flight_are_told_the_truth_when_their_client_is_blocklisted(
    healing: Server, tools: Tools, new_image: NewImage
) -> None:
    images = [new_image() for _ in range(32)]
    assert create(healing, request("rbd", images[0], "before")).reply
    with ThreadPoolExecutor(len(images)) as pool:
        calls = [pool.submit(create, healing, request("rbd", image, "during")) for image in images]
        blocklist(tools)
        outcomes = dict(zip(images, (call.result() for call in calls), strict=True))
    for image, outcome in outcomes.items():
        if outcome.code is None:
            assert tools.snapshot(f"rbd/{image}", "during")
        else:
            assert (outcome.code, outcome.reason) == ("unavailable", "OUTCOME_UNKNOWN")
    retried = [create(healing, request("rbd", image, "during")).code for image in images]
    assert set(retried) <= {None, "already_exists"}
    assert all(tools.snapshot(f"rbd/{image}", "during") for image in images)


def test_a_replaced_connection_leaves_nothing_behind(healing: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    assert create(healing, request("rbd", image, "before")).reply
    wait_until(lambda: len(workers_of(healing)) == 1)
    descriptors = descriptors_of(healing.process.pid)
    for number in range(5):
        blocklist(tools)
        assert create(healing, request("rbd", image, f"after-{number}")).reply
    wait_until(lambda: len(workers_of(healing)) == 1)
    wait_until(lambda: descriptors_of(healing.process.pid) <= descriptors)
    wait_until(lambda: len(tools.addresses(USER)) == 1)


def test_a_key_that_was_rotated_is_used_without_a_restart(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    user = "client.rotated"
    cluster.create_user(user, **CAPS)
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster, [f'client = "{user}"'])) as server:
        assert create(server, request("rbd", image, "before")).reply
        (address,) = tools.addresses(user)
        cluster.command("auth rm", entity=user)
        cluster.create_user(user, **CAPS)
        wait_until(lambda: "connected anew" in server.log.read_text())
        assert create(server, request("rbd", image, "after")).reply
        wait_until(lambda: address not in tools.addresses(user) and len(tools.addresses(user)) == 1)


def test_what_the_monitors_configure_is_followed_and_stops_nothing(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    """Where librbd is told so while an image is closed, it can wait for ever."""
    user = "client.configured"
    cluster.create_user(user, **CAPS)
    images = [new_image() for _ in range(16)]
    settings = write_scope("test", cluster, [f'client = "{user}"'])
    with run_server(tmp_path, settings) as server, ThreadPoolExecutor(len(images)) as pool:
        for turn in range(5):
            calls = [pool.submit(create, server, request("rbd", image, f"s{turn}")) for image in images]
            while not all(call.done() for call in calls):
                tools.ceph(
                    "config", "set", user, "rbd_cache_max_dirty", str(1_000_000 + time.monotonic_ns() % 1_000_000)
                )
            assert [call.result().code for call in calls] == [None] * len(images)
        tools.ceph("config", "set", user, "rbd_default_features", "layering")

        def is_followed() -> bool:
            name = f"image-{uuid4().hex}"
            outcome = CALLS["connect"](server, image_request(name, quotaBytes=MIB), "CreateImage")
            assert outcome.reply, outcome
            return bool(tools.rbd_json("info", f"rbd/{name}")["features"] == ["layering"])

        wait_until(is_followed)


@pytest.fixture(scope="module")
def down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a cluster is that has been stopped."""
    folder = tmp_path_factory.mktemp("down")
    with booted(folder) as cluster, Tools(cluster).ioctx() as ioctx:
        rbd.RBD().create(ioctx, "image", 16 * MIB)
    return folder


def call_until_reached(server: Server, snapshot: str) -> None:
    """Call until the cluster is reached. Until then it is unavailable, and nothing else."""

    def is_reached() -> bool:
        outcome = create(server, request("rbd", "image", snapshot, scope="down"))
        assert outcome.code in {None, "unavailable"}, outcome
        return outcome.code is None

    wait_until(is_reached)


def test_a_cluster_that_is_down_at_the_start_and_up_later(
    down: Path, cluster: DevCluster, new_image: NewImage, tmp_path: Path
) -> None:
    """Meanwhile its calls fail at once, and other scopes do not notice."""
    stopped = DevCluster(down, QUICK)
    scopes = write_scope("down", stopped) + write_scope("test", cluster)
    with run_server(tmp_path, scopes, *IMPATIENT) as server, ThreadPoolExecutor(20) as pool:
        bodies = [request("rbd", "image", f"down-{number}", scope="down") for number in range(20)]
        for outcome in pool.map(lambda body: create(server, body), bodies):
            assert (outcome.code, outcome.reason) == ("unavailable", "CONNECT_FAILED")
        at_once = create(server, bodies[0])
        assert (at_once.code, at_once.reason) == ("unavailable", "CONNECT_FAILED")
        assert at_once.details["RetryInfo"] == {"retryDelay": "1s"}
        assert create(server, request("rbd", new_image(), "first")).reply
        with stopped as up:
            call_until_reached(server, "up")
            assert [snapshot["name"] for snapshot in Tools(up).snapshots("rbd/image")] == ["up"]


def test_a_cluster_that_goes_down_and_comes_up_elsewhere(down: Path, tmp_path: Path) -> None:
    with (
        DevCluster(down, QUICK) as first,
        run_server(tmp_path, write_scope("down", first), *IMPATIENT) as server,
    ):
        call_until_reached(server, "before")
        first.stop()
        outcome = create(server, request("rbd", "image", "meanwhile", scope="down"))
        assert (outcome.code, outcome.reason) == ("unavailable", "CEPH_TIMED_OUT")
        with DevCluster(down, QUICK) as second:
            call_until_reached(server, "after")
            names = {snapshot["name"] for snapshot in Tools(second).snapshots("rbd/image")}
            assert {"before", "after"} <= names
            assert "meanwhile" not in names
