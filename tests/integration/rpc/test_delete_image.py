"""DeleteImage: what stands in its way is named, and what was deleted or made by halves can be deleted."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Call, Outcome, image_request
from support.images import MIB, NewImage
from support.server import Server
from support.tools import Tools
from support.waiting import wait_until

every_call = pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])


@every_call
def test_a_deleted_image_has_gone(call: Call, server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=5 * MIB)
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image, read_only=True) as opened:
        image_id = opened.id()
    assert call(server, image_request(image), "DeleteImage").reply == {}
    assert image not in tools.rbd_json("ls", "rbd")
    with tools.ioctx() as ioctx:
        assert [found.key for found in ioctx.list_objects() if image_id in found.key] == []
    assert call(server, image_request(image), "DeleteImage").reason == "IMAGE_NOT_FOUND"


@every_call
def test_an_image_with_snapshots_is_not_deleted(call: Call, server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    for snapshot in ("first", "second"):
        tools.rbd("snap", "create", "--no-progress", f"rbd/{image}@{snapshot}")
    outcome = call(server, image_request(image), "DeleteImage")
    assert_in_the_way(outcome, "IMAGE_HAS_SNAPSHOTS", ("SNAPSHOT", "first"), ("SNAPSHOT", "second"))
    assert len(tools.snapshots(f"rbd/{image}")) == 2


@every_call
def test_an_image_that_is_open_is_not_deleted(call: Call, server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
        (watcher,) = opened.watchers_list()
        outcome = call(server, image_request(image), "DeleteImage")
    assert_in_the_way(outcome, "IMAGE_IN_USE", ("WATCHER", f"client.{watcher['id']}"))
    assert call(server, image_request(image), "DeleteImage").reply == {}


def assert_in_the_way(outcome: Outcome, reason: str, *subjects: tuple[str, str]) -> None:
    assert (outcome.code, outcome.reason) == ("failed_precondition", reason)
    violations = outcome.details["PreconditionFailure"]["violations"]
    assert [(violation["type"], violation["subject"]) for violation in violations] == list(subjects)


class TestHalves:
    """Images that were made or deleted by halves."""

    @pytest.fixture
    def half(self, tools: Tools, new_image: NewImage) -> str:
        """An image that has a name and no header, as a client leaves it that dies in the middle of making one."""
        image = new_image()
        with tools.ioctx() as ioctx:
            with rbd.Image(ioctx, image, read_only=True) as opened:
                header = f"rbd_header.{opened.id()}"
            ioctx.remove_object(header)
        return image

    def test_what_is_left_is_told_and_can_be_deleted(self, half: str, server: Server) -> None:
        call = CALLS["connect"]
        outcome = call(server, image_request(half, quotaBytes=MIB), "CreateImage")
        assert (outcome.code, outcome.reason) == ("failed_precondition", "IMAGE_INCOMPLETE")
        assert call(server, image_request(half), "DeleteImage").reply == {}
        assert call(server, image_request(half, quotaBytes=MIB), "CreateImage").reply

    @pytest.mark.usefixtures("short_watches")
    def test_a_deletion_that_was_interrupted_is_finished_by_the_next(
        self, server: Server, tools: Tools, cluster: DevCluster
    ) -> None:
        name = "interrupted"
        tools.rbd("create", "--size", "40G", "--image-feature", "layering", f"rbd/{name}")
        with deleting(cluster, name) as process:
            process.kill()
        wait_until(lambda: CALLS["connect"](server, image_request(name), "DeleteImage").reply == {})
        assert name not in tools.rbd_json("ls", "rbd")
        assert json.loads(tools.rbd("trash", "ls", "--all", "rbd", "--format", "json")) == []


@contextmanager
def deleting(cluster: DevCluster, image: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that is in the middle of deleting an image."""
    script = f"""
import rados, rbd
def say(done, total):
    print(done, flush=True)
    return 0
with rados.Rados(conffile={str(cluster.conf)!r}, name="client.admin") as connection:
    with connection.open_ioctx("rbd") as ioctx:
        rbd.RBD().remove(ioctx, {image!r}, on_progress=say)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    assert process.stdout.readline()
    yield process
    process.communicate()
