"""What refused calls leave in Ceph: nothing. And what errors name: something that a call or a command can act on."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Outcome, image_request, request
from support.images import NewImage
from support.server import Server
from support.tools import Tools

POOL = "pristine"
CHANGES = (
    "CreateImageSnapshot",
    "DeleteImageSnapshot",
    "RollbackImageSnapshot",
    "ProtectImageSnapshot",
    "UnprotectImageSnapshot",
    "CreateImage",
    "UpdateImage",
    "DeleteImage",
)


def called(server: Server, rpc: str, pool: str, image: str, snapshot: str = "first") -> Outcome:
    body: dict[str, Any] = request(pool, image, snapshot) if "Snapshot" in rpc else image_request(image, pool)
    if rpc in {"CreateImage", "UpdateImage"}:
        body["quotaBytes"] = 1 << 20
    return CALLS["connect"](server, body, rpc)


@pytest.fixture(scope="module")
def pool(cluster: DevCluster) -> Iterator[str]:
    """A pool that no client has used."""
    cluster.create_pool(POOL)
    yield POOL
    cluster.delete_pool(POOL)


@pytest.mark.parametrize("rpc", [rpc for rpc in CHANGES if rpc != "CreateImage"])
def test_a_call_on_what_is_not_there_leaves_nothing(server: Server, tools: Tools, pool: str, rpc: str) -> None:
    for place in (pool, f"{pool}/nowhere"):
        assert called(server, rpc, place, "image").code == "not_found"
    assert tools.objects("-p", pool, "ls", "--all") == ""


def test_an_image_in_a_namespace_that_is_not_there_leaves_nothing(server: Server, tools: Tools, pool: str) -> None:
    outcome = called(server, "CreateImage", f"{pool}/nowhere", "image")
    assert (outcome.code, outcome.reason) == ("not_found", "NAMESPACE_NOT_FOUND")
    assert tools.objects("-p", pool, "ls", "--all") == ""


def test_deletions_leave_no_attributes(server: Server, tools: Tools, new_image: NewImage) -> None:
    """Where locks are, class lock keeps an attribute for each name."""
    image = new_image()
    for rpc in ("CreateImageSnapshot", "DeleteImageSnapshot"):
        assert called(server, rpc, "rbd", image).code is None
    header = f"rbd_header.{tools.rbd_json('info', f'rbd/{image}')['id']}"
    assert "lock.rbd-connect" not in tools.objects("-p", "rbd", "listxattr", header)
    assert called(server, "DeleteImage", "rbd", image).reply == {}
    for name in ("rbd_directory", "rbd_trash"):
        assert "lock.rbd-connect" not in tools.objects("-p", "rbd", "listxattr", name)


class TestWhatIsNamed:
    """An image with a snapshot of each kind in the way: whatever the errors name is acted upon until it is deleted."""

    @pytest.fixture
    def image(self, tools: Tools, new_image: NewImage) -> str:
        image = new_image()
        place = f"rbd/{image}"
        with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
            for name in (".hidden", "a/b", "tab\there", "of-clones", "protected", "kept"):
                opened.create_snap(name)
        tools.rbd("snap", "create", "--no-progress", "--snap", "\udcff\udcfe", place)
        tools.rbd("clone", "--rbd-default-clone-format=2", f"{place}@kept", f"{place}-of-kept")
        tools.rbd("snap", "rm", "--no-progress", f"{place}@kept")
        tools.rbd("snap", "protect", f"{place}@protected")
        tools.rbd("snap", "protect", f"{place}@of-clones")
        tools.rbd("clone", "--rbd-default-clone-format=1", f"{place}@of-clones", f"{place}-of-protected")
        group = f"rbd/group-of-{image}"
        tools.rbd("group", "create", group)
        tools.rbd("group", "image", "add", group, place)
        tools.rbd("group", "snap", "create", f"{group}@all")
        return image

    def test_can_be_acted_upon(self, server: Server, tools: Tools, image: str) -> None:
        for _ in range(40):
            outcome = called(server, "DeleteImage", "rbd", image)
            if outcome.code is None:
                break
            self._act(server, tools, image, outcome)
        assert image not in tools.rbd_json("ls", "rbd")

    def _act(self, server: Server, tools: Tools, image: str, outcome: Outcome) -> None:
        """Do what the first violation says, or else the message."""
        found = outcome.details["PreconditionFailure"]["violations"][0]
        match found["type"]:
            case "SNAPSHOT" if "DeleteImageSnapshot" in found["description"]:
                answer = called(server, "DeleteImageSnapshot", "rbd", image, found["subject"])
                if answer.code is not None:
                    assert answer.reason == "SNAPSHOT_PROTECTED"
                    answer = called(server, "UnprotectImageSnapshot", "rbd", image, found["subject"])
                if answer.code is not None:
                    assert answer.reason == "SNAPSHOT_HAS_CLONES"
                    self._act(server, tools, image, answer)
            case "CLONE":
                tools.rbd("rm", "--no-progress", found["subject"])
            case "TRASH_SNAPSHOT":
                clones = self._run(tools, found["description"]).split()
                assert clones == [f"rbd/{image}-of-kept"]
                tools.rbd("flatten", "--no-progress", *clones)
            case _:
                self._run(tools, found["description"] if "`" in found["description"] else outcome.message)

    @staticmethod
    def _run(tools: Tools, text: str) -> str:
        """Run the first command of `rbd` that a text has."""
        command = re.search(r"`rbd (.*?)`", text)
        assert command, text
        return tools.rbd(*shlex.split(command[1]))
