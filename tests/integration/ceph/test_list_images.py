"""ListImages: what Ceph's own tools print, whatever is broken, gone or in use meanwhile."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Call, in_time
from support.images import MIB, NewImage
from support.printed import printed_image
from support.server import Server, run_server
from support.tools import Tools, frozen, write_scope

every_call = pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])


def images(call: Call, server: Server) -> list[dict[str, Any]]:
    outcome = call(server, {"scope": "test"}, "ListImages")
    assert outcome.reply is not None, outcome
    return list(outcome.reply.get("images", []))


def test_a_scope_that_does_not_exist_is_told(server: Server) -> None:
    for call in CALLS.values():
        assert call(server, {"scope": "nowhere"}, "ListImages").reason == "SCOPE_NOT_FOUND"
        assert call(server, {}, "ListImages").reason == "INVALID_NAME"


@every_call
def test_every_image_is_what_rbd_prints(
    call: Call, server: Server, tools: Tools, cluster: DevCluster, new_image: NewImage
) -> None:
    """In every pool for images, in all namespaces; of each kind, with snapshots, a clone among them."""
    namespace = f"listed-{id(call)}"
    cluster.create_pool(f"pool-{namespace}")
    for pool in ("rbd", f"pool-{namespace}"):
        tools.rbd("namespace", "create", f"{pool}/{namespace}")
    places = [("rbd", ""), ("rbd", namespace), (f"pool-{namespace}", ""), (f"pool-{namespace}", namespace)]
    made = [
        (pool if not place else f"{pool}/{place}", image)
        for pool, place in places
        for image in varied_images(tools, new_image, pool, place)
    ]
    listed = {(image["poolName"], image["name"]): image for image in images(call, server)}
    for pool, image in made:
        told = dict(listed[pool, image])
        assert told == printed_image(tools, pool, image)
    for pool in tools.ceph("osd", "pool", "ls").split():
        told_names = sorted(image for place, image in listed if place == pool)
        assert told_names == sorted(tools.rbd_json("ls", pool) if told_names else [])
    assert list(listed) == sorted(listed, key=lambda key: (*key[0].partition("/"), key[1]))
    cluster.delete_pool(f"pool-{namespace}")


def varied_images(tools: Tools, new_image: NewImage, pool: str, namespace: str) -> Iterator[str]:
    plain = new_image(pool=pool, namespace=namespace, written=5 * MIB)
    with_snapshots = new_image(10 * MIB, pool=pool, namespace=namespace, written=MIB)
    with tools.ioctx(pool, namespace) as ioctx:
        with rbd.Image(ioctx, with_snapshots) as opened:
            for number in range(3):
                opened.write(b"x", (3 * number) << 20)
                opened.create_snap(f"s{number}")
            opened.protect_snap("s1")
            opened.resize(12 * MIB)
        clone, striped, mapless = (f"{kind}-of-{plain}" for kind in ("clone", "striped", "mapless"))
        rbd.RBD().clone(ioctx, with_snapshots, "s1", ioctx, clone)
        rbd.RBD().create(ioctx, striped, 10 * MIB, order=20, stripe_unit=65536, stripe_count=3)
        rbd.RBD().create(ioctx, mapless, 10 * MIB, features=rbd.RBD_FEATURE_LAYERING)
        for image in (clone, striped, mapless):
            with rbd.Image(ioctx, image) as opened:
                opened.write(b"x" * MIB, 0)
                opened.create_snap("first")
                opened.write(b"y", 5 * MIB)
    yield from (plain, with_snapshots, clone, striped, mapless)


class TestBroken:
    """The list comes all the same."""

    def test_an_image_by_halves_is_known_by_name(self, server: Server, tools: Tools, new_image: NewImage) -> None:
        image = new_image()
        with tools.ioctx() as ioctx:
            with rbd.Image(ioctx, image, read_only=True) as opened:
                header = f"rbd_header.{opened.id()}"
            ioctx.remove_object(header)
        for call in CALLS.values():
            assert {"name": image, "poolName": "rbd"} in images(call, server)
        tools.rbd("rm", "--no-progress", f"rbd/{image}")

    def test_an_image_whose_header_is_garbage_is_known_by_name(
        self, server: Server, tools: Tools, new_image: NewImage
    ) -> None:
        image = new_image()
        with tools.ioctx() as ioctx:
            ioctx.write_full(f"rbd_id.{image}", b"\xff\xff\xff\xff")
            assert {"name": image, "poolName": "rbd"} in images(CALLS["connect"], server)
            ioctx.remove_object(f"rbd_id.{image}")

    def test_an_image_in_use_is_listed_like_others(self, server: Server, tools: Tools, new_image: NewImage) -> None:
        image = new_image(written=MIB)
        with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
            opened.write(b"x", 8 * MIB)
            (found,) = [found for found in images(CALLS["connect"], server) if found["name"] == image]
        assert found == printed_image(tools, "rbd", image)

    def test_images_that_come_and_go_do_no_harm(self, server: Server, tools: Tools, new_image: NewImage) -> None:
        stays = new_image()
        done = threading.Event()

        def come_and_go() -> None:
            with tools.ioctx() as ioctx:
                while not done.is_set():
                    rbd.RBD().create(ioctx, "comes-and-goes", MIB)
                    rbd.RBD().remove(ioctx, "comes-and-goes")

        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            for _ in range(10):
                found = {image["name"] for image in images(CALLS["connect"], server)}
                assert stays in found
        finally:
            done.set()
            thread.join()

    def test_pools_without_caps_are_left_out(self, cluster: DevCluster, new_image: NewImage, tmp_path: Path) -> None:
        cluster.create_pool("barred")
        barred, shown = new_image(pool="barred"), new_image()
        cluster.create_user("client.half-barred", mon="profile rbd", osd="profile rbd pool=rbd")
        with run_server(tmp_path, write_scope("test", cluster, ['client = "client.half-barred"'])) as server:
            found = {image["name"] for image in images(CALLS["connect"], server)}
        assert shown in found
        assert barred not in found
        cluster.delete_pool("barred")


def test_where_no_osd_lets_the_server_in_that_is_told(cluster: DevCluster, tmp_path: Path) -> None:
    cluster.create_user("client.barred", mon="profile rbd")
    with run_server(tmp_path, write_scope("test", cluster, ['client = "client.barred"'])) as server:
        outcome = in_time(server, {"scope": "test"}, "ListImages", 10.0)
        assert (outcome.code, outcome.reason) == ("permission_denied", "CEPH_CAPS_MISSING")
        assert "no capability" in server.log.read_text()


def test_of_many_who_list_at_once_each_sees_what_was_there_before(server: Server, new_image: NewImage) -> None:
    def make_and_list(_number: int) -> bool:
        image = new_image()
        return image in {found["name"] for found in images(CALLS["connect"], server)}

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(make_and_list, range(32)))


def test_an_osd_that_does_not_answer_keeps_the_list_until_the_deadline(
    cluster: DevCluster, tmp_path: Path, new_image: NewImage
) -> None:
    """Nothing was changed, and the next list is whole."""
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        assert image in {found["name"] for found in images(CALLS["connect"], server)}
        with frozen(cluster.osd):
            outcome = in_time(server, {"scope": "test"}, "ListImages", 1.0)
        assert (outcome.code, outcome.reason) == ("deadline_exceeded", "NOT_STARTED")
        assert image in {found["name"] for found in images(CALLS["grpc"], server)}
