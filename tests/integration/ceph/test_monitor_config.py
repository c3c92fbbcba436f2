"""What is configured for librbd: by monitors, for a pool, for an image. All of it is followed while the server runs."""

from collections.abc import Iterator
from operator import le
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from rbd_connect.ceph.cluster.connection import Cluster
from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, create, image_request, request
from support.cluster import CAPS, config_of
from support.images import MIB, NewImage
from support.server import Server, run_server
from support.tools import Tools, kill_lock_owner, write_scope
from support.waiting import wait_until

USER = "client.set-by-monitors"
FOLLOWED_WITHIN_SECONDS = 10


@pytest.fixture(scope="module")
def configured(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is the only client of its Ceph user, and a pool for data."""
    cluster.create_user(USER, **CAPS)
    cluster.create_pool("for-data")
    settings = write_scope("test", cluster, [f'client = "{USER}"'])
    with run_server(tmp_path_factory.mktemp("configured"), settings) as server:
        yield server


def created(server: Server, tools: Tools, pool: str = "rbd", **layout: Any) -> dict[str, object]:  # noqa: ANN401 - a field of the request
    """Create an image of which only some of the layout is said. Give what `rbd info` prints."""
    name = f"image-{uuid4().hex}"
    outcome = CALLS["connect"](server, image_request(name, pool, quotaBytes=MIB, **layout), "CreateImage")
    assert outcome.reply, outcome
    info = tools.rbd_json("info", f"{pool}/{name}")
    assert isinstance(info, dict)
    return info


def test_options_that_librados_refuses_at_run_time_are_followed_when_set_and_when_removed(
    configured: Server, tools: Tools
) -> None:
    assert "data_pool" not in created(configured, tools)
    tools.ceph("config", "set", USER, "rbd_default_data_pool", "for-data")
    wait_until(lambda: created(configured, tools).get("data_pool") == "for-data", FOLLOWED_WITHIN_SECONDS)
    tools.ceph("config", "set", USER, "rbd_default_order", "20")  # one that may be changed at run time
    wait_until(lambda: created(configured, tools)["order"] == 20, FOLLOWED_WITHIN_SECONDS)
    tools.ceph("config", "rm", USER, "rbd_default_data_pool")
    wait_until(lambda: created(configured, tools).get("data_pool") is None, FOLLOWED_WITHIN_SECONDS)
    tools.ceph("config", "rm", USER, "rbd_default_order")
    wait_until(lambda: created(configured, tools)["order"] == 22, FOLLOWED_WITHIN_SECONDS)


@pytest.fixture
def connected(cluster: DevCluster, configured: Server) -> Iterator[Cluster]:
    """The connection of a worker, with nothing found yet."""
    assert configured
    cluster_of_worker = Cluster(config_of(cluster, client=USER))
    cluster_of_worker.probe()
    cluster_of_worker.review_configuration()
    assert not cluster_of_worker.has_changed()
    yield cluster_of_worker
    cluster_of_worker.close()


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        (USER, "rbd_default_data_pool", "for-data"),
        ("client", "rbd_default_data_pool", "for-data"),
        ("global", "rbd_default_data_pool", "for-data"),
        (USER, "rbd_journal_pool", "for-data"),
        (USER, "rbd_cache_policy", "writethrough"),
        (USER, "rbd_plugins", "parent_cache"),
        (USER, "rbd_default_features", "layering"),  # this one librados would follow
        (USER, "mon_dns_srv_name", "elsewhere"),  # and this is none of librbd's
    ],
)
def test_each_is_found_out(cluster: DevCluster, connected: Cluster, section: str, option: str, value: str) -> None:
    cluster.command("config set", who=section, name=option, value=value)
    connected.review_configuration()
    found = connected.has_changed()
    cluster.command("config rm", who=section, name=option)
    assert found


def test_one_value_after_another_is_found_out(cluster: DevCluster, connected: Cluster) -> None:
    """Also where librados goes on with the one before."""
    cluster.command("config set", who=USER, name="rbd_default_data_pool", value="for-data")
    connected_later = Cluster(config_of(cluster, client=USER))
    connected_later.probe()
    cluster.command("config set", who=USER, name="rbd_default_data_pool", value="rbd")
    connected_later.review_configuration()
    found = connected_later.has_changed()
    connected_later.close()
    cluster.command("config rm", who=USER, name="rbd_default_data_pool")
    connected.review_configuration()
    assert (found, connected.has_changed()) == (True, False)


@pytest.mark.parametrize("section", ["client.other", "osd", "client/host:elsewhere"])
def test_what_is_set_for_others_is_none_of_its_business(cluster: DevCluster, connected: Cluster, section: str) -> None:
    cluster.command("config set", who=section, name="rbd_default_data_pool", value="for-data")
    connected.review_configuration()
    found = connected.has_changed()
    cluster.command("config rm", who=section, name="rbd_default_data_pool")
    assert not found


def test_a_user_who_may_not_ask_for_it_follows_it_too(cluster: DevCluster, tools: Tools) -> None:
    user = "client.may-not-ask"
    cluster.create_user(user, mon='allow command "osd pool ls"', osd="profile rbd")
    connected = Cluster(config_of(cluster, client=user))
    with connected.connection() as connection:
        assert connection.get_instance_id()
    connected.review_configuration()
    assert not connected.has_changed()
    tools.ceph("config", "set", user, "rbd_default_data_pool", "for-data")
    connected.review_configuration()
    assert connected.has_changed()
    connected.close()
    tools.ceph("config", "rm", user, "rbd_default_data_pool")


def test_looking_for_it_leaves_nothing_behind(cluster: DevCluster, connected: Cluster) -> None:
    """No thread, no descriptor, no file."""
    own = Path("/proc/self")

    def held() -> list[int]:
        return [len(list((own / what).iterdir())) for what in ("task", "fd")]

    before = held()
    for number in range(10):
        cluster.command("config set", who="client.other", name="rbd_default_data_pool", value=str(number))
        connected.review_configuration()
    wait_until(lambda: all(map(le, held(), before)))
    cluster.command("config rm", who="client.other", name="rbd_default_data_pool")


def test_overrides_of_a_pool_hold_from_the_next_call_on(configured: Server, cluster: DevCluster, tools: Tools) -> None:
    """As librbd opens an image, or creates one, it reads them."""
    cluster.create_pool("with-overrides")
    for option, value in (("rbd_default_data_pool", "for-data"), ("rbd_default_features", "layering")):
        tools.rbd("config", "pool", "set", "with-overrides", option, value)
    tools.rbd("config", "pool", "set", "with-overrides", "rbd_default_order", "23")
    tools.rbd("namespace", "create", "with-overrides/namespace")
    for place in (
        "with-overrides",
        "with-overrides/namespace",
    ):  # a stripe must fit in an object, whose size is the pool's
        info = created(configured, tools, place, stripeUnitBytes=8 * MIB, stripeCount=2)
        assert (info["order"], info["stripe_unit"]) == (23, 8 * MIB)
    info = created(configured, tools, "with-overrides")
    assert (info["data_pool"], info["features"]) == ("for-data", ["layering", "data-pool"])
    tools.rbd("config", "pool", "rm", "with-overrides", "rbd_default_data_pool")
    assert "data_pool" not in created(configured, tools, "with-overrides")


@pytest.mark.usefixtures("short_watches")
def test_overrides_of_an_image_hold_from_the_next_call_on(
    configured: Server, tools: Tools, new_image: NewImage
) -> None:
    """A client that died with the lock of an image is blocklisted, unless the image says otherwise."""
    images = {as_usual: new_image() for as_usual in (True, False)}
    assert all(create(configured, request("rbd", image, "before")).reply for image in images.values())
    tools.rbd("config", "image", "set", f"rbd/{images[False]}", "rbd_blocklist_on_break_lock", "false")
    for as_usual, image in images.items():
        kill_lock_owner(tools, image)
        (owner,) = tools.lockers(f"rbd/{image}")
        assert create(configured, request("rbd", image, "after")).reply
        assert (owner["address"] in tools.ceph("osd", "blocklist", "ls")) == as_usual
