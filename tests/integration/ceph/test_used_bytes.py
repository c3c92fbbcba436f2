"""Used bytes: after each snapshot of whatever image, every field of the reply is what `rbd snap ls` and `rbd du` print.

More of the random workloads:
`make test ARGS="--hypothesis-profile=thorough tests/integration/ceph/test_used_bytes.py"`.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import rbd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbd_connect.devcluster import DevCluster
from support.clients import create, request
from support.images import MIB, NewImage
from support.server import Server, run_server
from support.tools import Tools, write_scope

KIB = 1 << 10
LAYERING = rbd.RBD_FEATURE_LAYERING
LOCKED = LAYERING | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
MAPPED = LOCKED | rbd.RBD_FEATURE_OBJECT_MAP
FAST_DIFF = MAPPED | rbd.RBD_FEATURE_FAST_DIFF
ALL = FAST_DIFF | rbd.RBD_FEATURE_DEEP_FLATTEN
_MAX_OBJECTS = 200

assert settings.default is not None
EXAMPLES = settings.default.max_examples // 4  # each takes half a second

_numbers = count(1)


@dataclass(frozen=True)
class Shape:
    """How an image is made. ``order`` is the object size's power of two; sizes are in bytes."""

    order: int
    size: int
    features: int
    stripe_unit: int
    stripe_count: int
    namespace: str
    parent: bool


@dataclass(frozen=True)
class Step:
    """What is done to an image. ``at`` and ``length`` are fractions of its size, or of its snapshots' number."""

    kind: str
    at: float
    length: float


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    order = draw(st.integers(12, 25))
    objects = draw(st.integers(1, min(_MAX_OBJECTS, (256 * MIB >> order) or 1)))
    clipped = draw(st.sampled_from([0, 1, 512, (1 << order) // 2, (1 << order) - 1]))
    striped = draw(st.booleans()) and order > 14
    return Shape(
        order=order,
        size=(objects << order) - clipped,
        features=draw(st.sampled_from([LAYERING, LOCKED, MAPPED, FAST_DIFF, ALL, ALL, ALL])),
        stripe_unit=1 << (order - 2) if striped else 0,
        stripe_count=3 if striped else 0,
        namespace=draw(st.sampled_from(["", "", "workload"])),
        parent=draw(st.booleans()) and not striped,
    )


fractions = st.floats(0, 1, exclude_max=True)
steps = st.builds(
    Step,
    kind=st.sampled_from(["write", "write", "write", "discard", "resize", "snapshot", "snapshot", "remove"]),
    at=fractions,
    length=st.floats(0, 0.3),
)


class Workload:
    """An image, and what is done to it by a client of its own."""

    def __init__(self, server: Server, tools: Tools, shape: Shape) -> None:
        self.server = server
        self.tools = tools
        self.shape = shape
        self.pool = f"rbd/{shape.namespace}" if shape.namespace else "rbd"
        self.name = f"workload-{next(_numbers)}"
        self.snapshots: list[str] = []
        self.taken = count(1)

    def make(self) -> None:
        shape = self.shape
        with self.tools.ioctx(namespace=shape.namespace) as ioctx:
            if not shape.parent:
                rbd.RBD().create(
                    ioctx,
                    self.name,
                    shape.size,
                    order=shape.order,
                    old_format=False,
                    features=shape.features,
                    stripe_unit=shape.stripe_unit,
                    stripe_count=shape.stripe_count,
                )
                return
            parent = f"{self.name}-parent"
            rbd.RBD().create(ioctx, parent, shape.size, order=shape.order, old_format=False, features=LAYERING)
            with rbd.Image(ioctx, parent) as image:
                image.write(b"p" * min(shape.size, 64 * KIB), 0)
                image.create_snap("base")
                image.protect_snap("base")
            rbd.RBD().clone(ioctx, parent, "base", ioctx, self.name, features=shape.features, order=shape.order)

    def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.kind == "snapshot":
                self.snapshot()
            else:
                self.change(step)
        self.snapshot()

    def change(self, step: Step) -> None:
        with (
            self.tools.ioctx(namespace=self.shape.namespace) as ioctx,
            rbd.Image(ioctx, self.name) as image,
        ):
            size = image.size()
            offset = int(step.at * size)
            length = min(int(step.length * size) + 1, size - offset)
            match step.kind:
                case "write" if size:
                    image.write(b"w" * min(length, 128 * KIB), offset)
                case "discard" if size:
                    image.discard(offset, length)
                case "resize":
                    # `rbd du` aborts where a snapshot has size 0 and an object map (ceph_assert in DiffIterate.cc).
                    image.resize(int(step.at * 2 * self.shape.size) or 1)
                case "remove" if self.snapshots:
                    image.remove_snap(self.snapshots.pop(int(step.at * len(self.snapshots))))

    def snapshot(self) -> None:
        name = f"snapshot-{next(self.taken)}"
        self.snapshots.append(name)
        outcome = create(self.server, request(self.pool, self.name, name))
        image = f"{self.pool}/{self.name}"
        size = self.tools.snapshot(image, name)["size"]
        assert outcome.reply == {
            "name": name,
            "protected": False,
            "quotaBytes": str(size),
            "usedBytes": str(self.tools.used_bytes(image, name)),
        }, outcome


@pytest.fixture(scope="module")
def namespace(cluster: DevCluster) -> None:
    Tools(cluster).rbd("namespace", "create", "rbd/workload")


@pytest.mark.usefixtures("namespace")
@pytest.mark.timeout(3600)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(shape=shapes(), steps=st.lists(steps, max_size=12))
def test_every_field_is_what_ceph_prints(server: Server, tools: Tools, shape: Shape, steps: list[Step]) -> None:
    workload = Workload(server, tools, shape)
    workload.make()
    workload.run(steps)


def used(server: Server, image: str, snapshot: str) -> str | None:
    """The used bytes that a new snapshot's reply has."""
    reply = create(server, request("rbd", image, snapshot)).reply
    assert reply is not None
    return reply.get("usedBytes")


def write(tools: Tools, image: str, *objects: int) -> None:
    """Change some of an image's objects, of 4 MiB."""
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
        for number in objects:
            opened.write(b"x", number * 4 * MIB)


def test_snapshots_of_mirroring_between_a_users_snapshots(server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(64 * MIB)
    tools.rbd("mirror", "pool", "enable", "rbd", "image")
    tools.rbd("mirror", "pool", "peer", "add", "rbd", "client.nobody@elsewhere")
    write(tools, image, 0, 1, 2)
    tools.rbd("mirror", "image", "enable", f"rbd/{image}", "snapshot")  # takes a snapshot of its own
    write(tools, image, 2)
    assert used(server, image, "first") == str(tools.used_bytes(f"rbd/{image}", "first")) == str(12 * MIB)
    write(tools, image, 3, 4)
    tools.rbd("mirror", "image", "snapshot", f"rbd/{image}")
    write(tools, image, 4, 5)
    assert used(server, image, "second") == str(tools.used_bytes(f"rbd/{image}", "second")) == str(12 * MIB)


def test_an_object_map_that_is_invalid_is_not_believed(server: Server, tools: Tools) -> None:
    """A map that was enabled later is invalid, and does not tell what was written before."""
    tools.rbd("create", "--size", "64M", "--image-feature", "layering", "rbd/late-map")
    write(tools, "late-map", 0, 1)
    tools.rbd("feature", "enable", "rbd/late-map", "exclusive-lock", "object-map", "fast-diff")
    assert used(server, "late-map", "invalid") == str(8 * MIB)
    write(tools, "late-map", 1, 2, 3)
    tools.rbd("object-map", "rebuild", "--no-progress", "rbd/late-map")
    assert used(server, "late-map", "rebuilt") == str(tools.used_bytes("rbd/late-map", "rebuilt")) == str(12 * MIB)
    write(tools, "late-map", 9)
    assert used(server, "late-map", "valid") == str(tools.used_bytes("rbd/late-map", "valid")) == str(4 * MIB)


@pytest.mark.parametrize("features", ["layering", "layering,exclusive-lock,object-map,fast-diff"])
def test_snapshots_of_size_zero(server: Server, tools: Tools, features: str) -> None:
    image = f"from-zero-{len(features)}"
    tools.rbd("create", "--size", "0", "--image-feature", features, f"rbd/{image}")
    assert used(server, image, "nothing") == "0"
    assert used(server, image, "nothing-still") == "0"
    tools.rbd("resize", "--no-progress", "--size", "16M", f"rbd/{image}")
    write(tools, image, 0, 3)
    assert used(server, image, "something") == str(8 * MIB)
    tools.rbd("resize", "--no-progress", "--size", "0", "--allow-shrink", f"rbd/{image}")
    assert used(server, image, "nothing-again") == "0"


def test_an_object_map_that_has_gone_is_done_without(server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(64 * MIB, written=5 * MIB)
    assert used(server, image, "first") == str(8 * MIB)
    with tools.ioctx() as ioctx:
        with rbd.Image(ioctx, image, read_only=True) as opened:
            name = f"rbd_object_map.{opened.id()}.{opened.snap_get_id('first'):016x}"
        ioctx.remove_object(name)
    outcome = create(server, request("rbd", image, "first"))
    assert outcome.details["Snapshot"]["usedBytes"] == str(8 * MIB)


def test_a_snapshot_that_was_left_without_an_object_map(server: Server, tools: Tools, new_image: NewImage) -> None:
    """Neither its used bytes nor those of the one after it can be told by maps: the latter's tells too much."""
    image = new_image(64 * MIB)
    write(tools, image, 0, 1)
    assert used(server, image, "first") == str(8 * MIB)
    write(tools, image, 2, 3)
    interrupt_create(tools, image, "interrupted")
    write(tools, image, 3, 4)
    assert used(server, image, "after") == str(8 * MIB)
    retried = create(server, request("rbd", image, "interrupted"))
    assert (retried.code, retried.details["Snapshot"]["usedBytes"]) == ("already_exists", str(8 * MIB))
    by_diff = tools.used_by_diff(f"rbd/{image}")  # `rbd du` fails
    assert by_diff == dict.fromkeys(["first", "interrupted", "after"], 8 * MIB)


def interrupt_create(tools: Tools, image: str, snapshot: str) -> None:
    """Do of a create what librbd does until the object map's turn comes (cls_rbd's snapshot_add), and no more."""
    with tools.ioctx() as ioctx:
        with rbd.Image(ioctx, image, read_only=True) as opened:
            header = f"rbd_header.{opened.id()}"
        name = struct.pack("<I", len(snapshot)) + snapshot.encode()
        ioctx.execute(header, "rbd", "snapshot_add", name + struct.pack("<Q", ioctx.create_self_managed_snap()))


def test_beyond_the_budget_used_bytes_are_unset(cluster: DevCluster, tools: Tools, tmp_path: Path) -> None:
    tools.rbd("create", "--size", "16M", "--image-feature", "layering", "rbd/no-map")
    write(tools, "no-map", 0)
    flags = ("--usage-diff-budget", "3")
    with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
        assert used(server, "no-map", "four-objects") is None
        tools.rbd("resize", "--no-progress", "--size", "12M", "--allow-shrink", "rbd/no-map")
        assert used(server, "no-map", "three-objects") == "0"
