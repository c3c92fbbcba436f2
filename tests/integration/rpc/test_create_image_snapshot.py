"""CreateImageSnapshot over every form of the protocol: what comes back is what Ceph's own tools print."""

import subprocess

import pytest

from support.clients import CLIENTS, Client, create, request
from support.images import MIB, NewImage
from support.server import Server
from support.tools import Tools

every_client = pytest.mark.parametrize("client", [pytest.param(client, id=name) for name, client in CLIENTS.items()])


@every_client
def test_the_reply_says_what_ceph_says(client: Client, server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(10 * MIB, written=1)
    outcome = client(server, request("rbd", image, "first"))
    snapshot = tools.snapshot(f"rbd/{image}", "first")
    assert outcome.reply == {
        "name": "first",
        "protected": False,
        "quotaBytes": str(snapshot["size"]),
        "usedBytes": str(tools.used_bytes(f"rbd/{image}", "first")),
    }
    assert (snapshot["protected"], snapshot["size"]) == ("false", 10 * MIB)


@every_client
def test_zero_and_false_are_sent(client: Client, server: Server, new_image: NewImage) -> None:
    image = new_image(0)
    outcome = client(server, request("rbd", image, "empty"))
    assert outcome.reply == {"name": "empty", "protected": False, "quotaBytes": "0", "usedBytes": "0"}


@every_client
def test_an_existing_snapshot_comes_with_the_error(
    client: Client, server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image(written=5 * MIB)
    tools.rbd("snap", "create", "--no-progress", f"rbd/{image}@kept")
    tools.rbd("snap", "protect", f"rbd/{image}@kept")
    outcome = client(server, request("rbd", image, "kept"))
    assert (outcome.code, outcome.reason) == ("already_exists", "SNAPSHOT_EXISTS")
    assert outcome.details["Snapshot"] == {
        "name": "kept",
        "protected": True,
        "quotaBytes": str(16 * MIB),
        "usedBytes": str(tools.used_bytes(f"rbd/{image}", "kept")),
    }
    assert len(tools.snapshots(f"rbd/{image}")) == 1


def test_an_image_in_a_namespace(server: Server, tools: Tools, new_image: NewImage) -> None:
    tools.rbd("namespace", "create", "rbd/team-a")
    image = new_image(namespace="team-a", written=1)
    assert create(server, request("rbd/team-a", image, "first")).reply
    assert [snapshot["name"] for snapshot in tools.snapshots(f"rbd/team-a/{image}")] == ["first"]


def test_names_of_255_bytes_and_unicode(server: Server, tools: Tools) -> None:
    image, snapshot = "ü" * 127 + "i", "雪" * 85
    tools.rbd("create", "--size", "1M", f"rbd/{image}")
    assert create(server, request("rbd", image, snapshot)).reply
    assert tools.snapshots(f"rbd/{image}")[0]["name"] == snapshot


def test_an_image_can_be_removed_right_after_a_call(server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=1)
    assert create(server, request("rbd", image, "first")).reply
    assert (tools.watchers(f"rbd/{image}"), tools.lockers(f"rbd/{image}")) == ([], [])
    tools.rbd("snap", "purge", "--no-progress", f"rbd/{image}")
    tools.rbd("rm", "--no-progress", f"rbd/{image}")


def test_a_name_that_is_no_utf8_among_the_snapshots_does_no_harm(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image(written=1)
    foreign = f"rbd/{image}@".encode() + b"\xff"
    subprocess.run(["rbd", "--conf", tools.cluster.conf, "snap", "create", "--no-progress", foreign], check=True)
    outcome = create(server, request("rbd", image, "mine"))
    used = {"usedBytes": "0"}  # nothing was written since that one
    assert outcome.reply == {"name": "mine", "protected": False, "quotaBytes": str(16 * MIB), **used}
