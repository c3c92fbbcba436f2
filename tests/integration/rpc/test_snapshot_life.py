"""Deleting, protecting, unprotecting and rolling back: what Ceph's own tools print afterwards, and every refusal."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Call, Outcome, create, in_time, request
from support.images import MIB, NewImage
from support.server import Server, run_server
from support.tools import Tools, frozen, kill_lock_owner, write_scope
from support.waiting import wait_until

every_call = pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])
every_change = pytest.mark.parametrize(
    "rpc", ["DeleteImageSnapshot", "ProtectImageSnapshot", "UnprotectImageSnapshot", "RollbackImageSnapshot"]
)


@pytest.fixture
def image(tools: Tools, new_image: NewImage) -> str:
    """An image with a snapshot, ``first``."""
    name = new_image(written=5 * MIB)
    tools.rbd("snap", "create", "--no-progress", f"rbd/{name}@first")
    return name


def assert_refused(outcome: Outcome, code: str, reason: str, *subjects: tuple[str, str]) -> None:
    """See the code and the reason, and as violations of a precondition who or what is in the way."""
    assert (outcome.code, outcome.reason) == (code, reason), outcome
    violations = outcome.details.get("PreconditionFailure", {}).get("violations", [])
    assert [(violation["type"], violation["subject"]) for violation in violations] == list(subjects)
    assert all(violation["description"] for violation in violations)
    assert all(subject in outcome.message for _, subject in subjects)


@every_call
def test_a_deleted_snapshot_has_gone(call: Call, server: Server, tools: Tools, image: str) -> None:
    assert call(server, request("rbd", image, "first"), "DeleteImageSnapshot").reply == {}
    assert tools.snapshots(f"rbd/{image}") == []


@every_call
@every_change
def test_what_is_missing_is_told_apart(call: Call, rpc: str, server: Server, image: str) -> None:
    for body, kind, name in (
        (request("rbd", image, "second"), "snapshot", "second"),
        (request("rbd", "nowhere", "first"), "image", "nowhere"),
        (request("rbd/nowhere", image, "first"), "namespace", "nowhere"),
        (request("nowhere", image, "first"), "pool", "nowhere"),
        (request("rbd", image, "first", scope="nowhere"), "scope", "nowhere"),
    ):
        outcome = call(server, body, rpc)
        assert (outcome.code, outcome.reason) == ("not_found", f"{kind.upper()}_NOT_FOUND")
        resource = outcome.details["ResourceInfo"]
        assert (resource["resourceType"], resource["resourceName"]) == (kind, name)


@every_call
@every_change
def test_names_that_are_not_valid_are_named(call: Call, rpc: str, server: Server) -> None:
    outcome = call(server, request("a/b/c", "i\0", ""), rpc)
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_NAME")
    fields = [violation["field"] for violation in outcome.details["BadRequest"]["fieldViolations"]]
    assert fields == ["pool_name", "image_name", "snapshot_name"]


@every_call
def test_protecting_twice_is_protecting(call: Call, server: Server, tools: Tools, image: str) -> None:
    body = request("rbd", image, "first")
    for rpc, protected in (
        ("ProtectImageSnapshot", "true"),
        ("ProtectImageSnapshot", "true"),
        ("UnprotectImageSnapshot", "false"),
        ("UnprotectImageSnapshot", "false"),
    ):
        assert call(server, body, rpc).reply == {}
        assert tools.snapshot(f"rbd/{image}", "first")["protected"] == protected


@every_call
def test_a_protected_snapshot_is_not_deleted(call: Call, server: Server, tools: Tools, image: str) -> None:
    tools.rbd("snap", "protect", f"rbd/{image}@first")
    outcome = call(server, request("rbd", image, "first"), "DeleteImageSnapshot")
    assert_refused(outcome, "failed_precondition", "SNAPSHOT_PROTECTED")
    assert tools.snapshot(f"rbd/{image}", "first")["protected"] == "true"


@every_call
def test_a_snapshot_with_clones_is_not_unprotected(call: Call, server: Server, tools: Tools, image: str) -> None:
    tools.rbd("namespace", "create", f"rbd/of-{image}")
    tools.rbd("snap", "protect", f"rbd/{image}@first")
    tools.rbd("clone", f"rbd/{image}@first", f"rbd/child-of-{image}")
    in_namespace = f"rbd/of-{image}/child"
    tools.rbd("clone", "--rbd-default-clone-format", "2", f"rbd/{image}@first", in_namespace)
    outcome = call(server, request("rbd", image, "first"), "UnprotectImageSnapshot")
    clones = {f"rbd/child-of-{image}", in_namespace}
    assert_refused(
        outcome, "failed_precondition", "SNAPSHOT_HAS_CLONES", *(("CLONE", clone) for clone in sorted(clones))
    )
    assert tools.snapshot(f"rbd/{image}", "first")["protected"] == "true"
    for clone in clones:
        tools.rbd("rm", "--no-progress", clone)
    assert call(server, request("rbd", image, "first"), "UnprotectImageSnapshot").reply == {}


def test_more_clones_than_there_is_room_for_are_named_in_part(server: Server, tools: Tools, image: str) -> None:
    tools.rbd("snap", "protect", f"rbd/{image}@first")
    children = [f"{number:03}-{'c' * 200}" for number in range(30)]
    with tools.ioctx() as ioctx:
        for child in children:
            rbd.RBD().clone(ioctx, image, "first", ioctx, child)
    for call in CALLS.values():
        outcome = call(server, request("rbd", image, "first"), "UnprotectImageSnapshot")
        assert outcome.reason == "SNAPSHOT_HAS_CLONES"
        assert 5 <= len(outcome.details["PreconditionFailure"]["violations"]) < len(children)
        assert outcome.message.endswith("and 25 more.")
    with tools.ioctx() as ioctx:
        for child in children:
            rbd.RBD().remove(ioctx, child)


@every_call
def test_an_image_that_cannot_be_cloned_has_nothing_to_protect(call: Call, server: Server, tools: Tools) -> None:
    tools.rbd("create", "--size", "4M", "--image-feature", "exclusive-lock", "rbd/no-layering")
    assert create(server, request("rbd", "no-layering", "first")).reply
    body = request("rbd", "no-layering", "first")
    assert_refused(call(server, body, "ProtectImageSnapshot"), "failed_precondition", "IMAGE_WITHOUT_LAYERING")
    assert call(server, body, "UnprotectImageSnapshot").reply == {}
    tools.delete("rbd/no-layering")


@every_call
def test_a_rollback_brings_back_what_was(call: Call, server: Server, tools: Tools, image: str) -> None:
    """Its size and its content."""
    with tools.ioctx() as ioctx:
        with rbd.Image(ioctx, image) as opened:
            opened.write(b"y" * MIB, 0)
            opened.discard(4 * MIB, 4 * MIB)
            opened.resize(32 * MIB)
            opened.write(b"z" * MIB, 20 * MIB)
        assert call(server, request("rbd", image, "first"), "RollbackImageSnapshot").reply == {}
        with rbd.Image(ioctx, image, read_only=True) as opened:
            assert opened.size() == 16 * MIB
            assert opened.read(0, 16 * MIB) == b"x" * (5 * MIB) + bytes(11 * MIB)
    assert (tools.watchers(f"rbd/{image}"), tools.lockers(f"rbd/{image}")) == ([], [])


@every_call
def test_an_image_that_is_open_elsewhere_is_not_rolled_back(
    call: Call, server: Server, tools: Tools, image: str
) -> None:
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
        opened.write(b"y" * MIB, 0)
        (watcher,) = opened.watchers_list()
        outcome = call(server, request("rbd", image, "first"), "RollbackImageSnapshot")
        assert opened.read(0, MIB) == b"y" * MIB
    assert_refused(outcome, "failed_precondition", "IMAGE_IN_USE", ("WATCHER", f"client.{watcher['id']}"))
    (violation,) = outcome.details["PreconditionFailure"]["violations"]
    assert watcher["addr"] in violation["description"]


@every_call
def test_an_image_that_is_locked_by_hand_is_not_rolled_back(
    call: Call, server: Server, tools: Tools, image: str
) -> None:
    tools.rbd("lock", "add", f"rbd/{image}", "maintenance")
    (locker,) = tools.lockers(f"rbd/{image}")
    outcome = call(server, request("rbd", image, "first"), "RollbackImageSnapshot")
    assert_refused(outcome, "failed_precondition", "IMAGE_IN_USE", ("LOCK", locker["locker"]))
    tools.rbd("lock", "rm", f"rbd/{image}", "maintenance", locker["locker"])
    assert call(server, request("rbd", image, "first"), "RollbackImageSnapshot").reply == {}


def test_no_change_is_made_of_an_image_that_is_locked_by_hand(server: Server, tools: Tools, image: str) -> None:
    """Of librbd itself one hears then that the image is read-only."""
    tools.rbd("lock", "add", f"rbd/{image}", "maintenance")
    (locker,) = tools.lockers(f"rbd/{image}")
    outcome = create(server, request("rbd", image, "second"))
    assert_refused(outcome, "failed_precondition", "IMAGE_IN_USE", ("LOCK", locker["locker"]))


@pytest.mark.usefixtures("short_watches")
def test_the_lock_of_a_client_that_died_is_in_nobodys_way(server: Server, tools: Tools, image: str) -> None:
    kill_lock_owner(tools, image)
    wait_until(lambda: not tools.watchers(f"rbd/{image}"))
    assert tools.lockers(f"rbd/{image}")
    assert CALLS["connect"](server, request("rbd", image, "first"), "RollbackImageSnapshot").reply == {}


def test_a_writer_loses_nothing_to_a_rollback(server: Server, tools: Tools, image: str) -> None:
    """The rollback is refused, or the write is: none is acknowledged and undone. So does the exclusive lock."""
    done = threading.Event()
    outcomes: list[Outcome] = []

    def keep_rolling_back() -> None:
        while not done.is_set():
            outcomes.append(CALLS["connect"](server, request("rbd", image, "first"), "RollbackImageSnapshot"))

    thread = threading.Thread(target=keep_rolling_back)
    thread.start()
    refused = 0
    try:
        with tools.ioctx() as ioctx:
            for number in range(100):
                written = bytes([number + 1]) * 4096
                with rbd.Image(ioctx, image) as opened:
                    try:
                        opened.write(written, 0)
                    except rbd.ReadOnlyImage:
                        refused += 1
                    else:
                        assert opened.read(0, 4096) == written
    finally:
        done.set()
        thread.join()
    assert {outcome.reason for outcome in outcomes if outcome.code} <= {"IMAGE_IN_USE", "LOCK_UNAVAILABLE"}
    assert refused < 100


class TestWhereNothingCanBeWritten:
    """A pool at its quota: what takes space is refused, and what gives it back is done."""

    @pytest.fixture
    def full(self, cluster: DevCluster, tools: Tools, new_image: NewImage) -> Iterator[str]:
        """The name of an image with two snapshots, the second protected."""
        cluster.create_pool("brimful")
        image = new_image(pool="brimful", written=1)
        for snapshot in ("first", "second"):
            tools.rbd("snap", "create", "--no-progress", f"brimful/{image}@{snapshot}")
        tools.rbd("snap", "protect", f"brimful/{image}@second")
        tools.ceph("osd", "pool", "set-quota", "brimful", "max_objects", "1")
        wait_until(lambda: "full_quota" in tools.ceph("osd", "pool", "ls", "detail"))
        yield image
        cluster.delete_pool("brimful")

    def test_snapshots_and_the_image_can_be_deleted(self, full: str, server: Server, tools: Tools) -> None:
        call = CALLS["connect"]
        for rpc, snapshot in (("ProtectImageSnapshot", "first"), ("RollbackImageSnapshot", "first")):
            outcome = call(server, request("brimful", full, snapshot), rpc)
            assert (outcome.code, outcome.reason) == ("resource_exhausted", "POOL_QUOTA_REACHED")
        for rpc, snapshot in (
            ("DeleteImageSnapshot", "first"),
            ("UnprotectImageSnapshot", "second"),
            ("DeleteImageSnapshot", "second"),
        ):
            assert call(server, request("brimful", full, snapshot), rpc).reply == {}
        assert call(server, {"scope": "test", "poolName": "brimful", "imageName": full}, "DeleteImage").reply == {}
        assert tools.rbd_json("ls", "brimful") == []


@every_change
def test_a_deadline_is_kept_while_ceph_is_at_it(
    rpc: str, cluster: DevCluster, tools: Tools, image: str, tmp_path: Path
) -> None:
    """What was begun goes on; afterwards a retry succeeds, or tells that it was done."""
    body = request("rbd", image, "first")
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        assert create(server, request("rbd", image, "before")).reply
        with frozen(cluster.osd):
            outcome = in_time(server, body, rpc, 1.0)
        assert (outcome.code, outcome.reason) == ("deadline_exceeded", "OUTCOME_UNKNOWN")
        retried = CALLS["connect"](server, body, rpc)
        assert retried.reply == {} or retried.reason == "SNAPSHOT_NOT_FOUND"
    snapshots = {snapshot["name"]: snapshot["protected"] for snapshot in tools.snapshots(f"rbd/{image}")}
    assert (
        snapshots.get("first")
        == {
            "DeleteImageSnapshot": None,
            "ProtectImageSnapshot": "true",
            "UnprotectImageSnapshot": "false",
            "RollbackImageSnapshot": "false",
        }[rpc]
    )


class TestWhatAnInterruptedDeletionLeft:
    """librbd has put the snapshot ``first`` into the image's trash, and got no further."""

    @pytest.fixture
    def image(self, tools: Tools, image: str) -> str:
        with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
            id_ = struct.pack("<Q", opened.snap_get_id("first"))
            ioctx.execute(f"rbd_header.{opened.id()}", "rbd", "snapshot_trash_add", id_)
        (left,) = tools.rbd_json("snap", "ls", "--all", f"rbd/{image}")
        assert left["namespace"] == {"type": "trash", "original_name": "first"}
        return image

    @every_call
    def test_is_deleted_by_a_retry(self, call: Call, server: Server, tools: Tools, image: str) -> None:
        body = request("rbd", image, "first")
        assert call(server, body, "DeleteImageSnapshot").reply == {}
        assert tools.rbd_json("snap", "ls", "--all", f"rbd/{image}") == []
        assert call(server, body, "DeleteImageSnapshot").reason == "SNAPSHOT_NOT_FOUND"

    @every_call
    def test_is_left_alone_by_the_deletion_of_another(
        self, call: Call, server: Server, tools: Tools, image: str
    ) -> None:
        assert call(server, request("rbd", image, "second"), "DeleteImageSnapshot").reason == "SNAPSHOT_NOT_FOUND"
        assert len(tools.rbd_json("snap", "ls", "--all", f"rbd/{image}")) == 1

    @every_call
    def test_is_deleted_with_the_image(self, call: Call, server: Server, tools: Tools, image: str) -> None:
        assert call(server, {"scope": "test", "poolName": "rbd", "imageName": image}, "DeleteImage").reply == {}
        assert image not in tools.rbd_json("ls", "rbd")


@every_call
def test_what_clones_need_of_a_deleted_snapshot_stays(call: Call, server: Server, tools: Tools, image: str) -> None:
    clone = f"rbd/{image}-clone"
    tools.rbd("clone", "--rbd-default-clone-format", "2", f"rbd/{image}@first", clone)
    body = request("rbd", image, "first")
    assert call(server, body, "DeleteImageSnapshot").reply == {}
    assert call(server, body, "DeleteImageSnapshot").reason == "SNAPSHOT_NOT_FOUND"
    assert len(tools.rbd_json("snap", "ls", "--all", f"rbd/{image}")) == 1
    outcome = call(server, {"scope": "test", "poolName": "rbd", "imageName": image}, "DeleteImage")
    in_the_way = (("TRASH_SNAPSHOT", "first"), ("CLONE", clone))
    assert_refused(outcome, "failed_precondition", "IMAGE_HAS_SNAPSHOTS", *in_the_way)
    tools.delete(clone)
    assert tools.rbd_json("snap", "ls", "--all", f"rbd/{image}") == []
