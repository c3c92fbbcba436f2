"""Random calls on a few images: each is answered as the model says, and what is told of them is what `rbd` prints.

More of them: `make test ARGS="--hypothesis-profile=thorough tests/integration/rpc/test_random_calls.py"`.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count, product
from typing import Any

import pytest
import rbd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Call, Outcome
from support.images import MIB
from support.model import CODES, Images, RefusedError, reason_of
from support.printed import as_json, printed_image, printed_used
from support.server import Server, run_server
from support.tools import Tools, write_scope

KIB = 1 << 10
POOL = "random"
POOL_OF_NOTHING = "random-without-application"
USER = "client.random"

assert settings.default is not None
EXAMPLES = settings.default.max_examples // 12  # each takes two seconds
STEPS = 30

IMAGES = ["one", "two", "three"]
SNAPSHOTS = ["first", "second", "third"]
FEATURES: dict[str, dict[str, bool]] = {
    "default": {},
    "none": {"layering": False},
    "layering": {"layering": True},
}
SHAPES: dict[str, dict[str, int]] = {
    "small": {"objectSizeBytes": 64 * KIB},
    "default": {},
    "striped": {"objectSizeBytes": 64 * KIB, "stripeUnitBytes": 16 * KIB, "stripeCount": 3},
}
FAULTS: dict[str, dict[str, Any]] = {
    "no size": {"quotaBytes": None},
    "too large": {"quotaBytes": 1 << 63},
    "odd object size": {"objectSizeBytes": 3000},
    "objects too small": {"objectSizeBytes": 2 * KIB},
    "objects too large": {"objectSizeBytes": 64 * MIB},
    "stripe unit alone": {"stripeUnitBytes": 16 * KIB},
    "stripe count alone": {"stripeCount": 3},
    "stripe unit beyond the object": {"objectSizeBytes": 64 * KIB, "stripeUnitBytes": 128 * KIB, "stripeCount": 3},
    "stripe unit beyond the default object": {"stripeUnitBytes": 8 * MIB, "stripeCount": 3},
    "object map without lock": {"layering": True, "objectMap": True},
    "fast diff without object map": {"exclusiveLock": True, "fastDiff": True},
}

# Mostly what there is, and now and then what there may not be.
IMAGE = st.runner().flatmap(lambda run: st.sampled_from([*IMAGES, *6 * list(run.model.by_name)]))
SNAPSHOT = st.runner().flatmap(lambda run: st.sampled_from([*product(IMAGES, SNAPSHOTS), *30 * run.model.snapshots()]))
FEATURE = st.sampled_from(list(FEATURES))
SHAPE = st.sampled_from(list(SHAPES))
OBJECTS = st.integers(1, 5)  # `rbd du` aborts where a snapshot has size 0 and an object map
SOME_BYTES = st.sampled_from([0, 1000])
FORM = st.sampled_from([1, 2])  # of a clone

_numbers = count(1)


@dataclass(frozen=True)
class Remembering(Tools):
    """The tools, asked once for the same; ``printed`` is what they printed since the last change."""

    printed: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def rbd_json(self, *words: str) -> Any:  # noqa: ANN401 - what JSON holds
        if words not in self.printed:
            self.printed[words] = super().rbd_json(*words)
        return self.printed[words]


class RandomCalls(RuleBasedStateMachine):
    """Calls on the images of a namespace of its own."""

    def __init__(self, call: Call, tools: Tools, pools: list[dict[str, Any]]) -> None:
        """``pools`` are those that there are, and what is known of them."""
        super().__init__()
        self.call = call
        self.tools = Remembering(tools.cluster)
        self.pools = pools
        self.model = Images()
        self.stamps = count(1)
        self.compared = False  # whether all was compared since the last change
        self.namespace = f"random-{next(_numbers)}"
        self.place = f"{POOL}/{self.namespace}"
        self.opened = tools.ioctx(POOL, self.namespace)
        self.ioctx = self.opened.__enter__()
        rbd.RBD().namespace_create(self.ioctx, self.namespace)

    def teardown(self) -> None:
        """Compare all that there is, unless a step failed; and remove it."""
        try:
            if sys.exception() is None:
                self.list_images()
                self.bytes_are_as_remembered()
        finally:
            self.remove_everything()
            self.opened.__exit__(None, None, None)

    @initialize(features=FEATURE, shape=SHAPE, objects=OBJECTS, form=FORM)
    def begin(self, features: str, shape: str, objects: int, form: int) -> None:
        """Make a snapshot and, where it can be cloned, a clone: each run does without some of the rules."""
        self.create_image("one", features, shape, objects, 0)
        self.write("one", 1, 0, 512)
        self.create_snapshot("one", "first")
        self.clone(("one", "first"), "two", form, features)

    @rule(image=st.sampled_from(IMAGES), features=FEATURE, shape=SHAPE, objects=OBJECTS, less=SOME_BYTES)
    def create_image(self, image: str, features: str, shape: str, objects: int, less: int) -> None:
        size = objects * SHAPES[shape].get("objectSizeBytes", 4 * MIB) - less
        asked: dict[str, Any] = {"quotaBytes": size, **SHAPES[shape], **FEATURES[features]}
        change = partial(self.model.create, image, size, layering=features != "none")
        outcome = self.do("CreateImage", change, image, **asked)
        if outcome.reply is None:
            self.is_told(outcome.details["Image"], image)
        else:
            self.is_told(outcome.reply, image)
            assert as_json(asked).items() <= outcome.reply.items()

    @rule(image=IMAGE, fault=st.sampled_from(list(FAULTS)))
    def call_badly(self, image: str, fault: str) -> None:
        self.do("CreateImage", refuse_layout, image, **{"quotaBytes": MIB, **FAULTS[fault]})
        if fault == "no size":
            self.do("UpdateImage", refuse_layout, image)
        if fault == "too large":
            self.do("UpdateImage", partial(self.model.resize, image, 1 << 63), image, **FAULTS[fault])

    @rule(image=IMAGE, objects=OBJECTS, less=SOME_BYTES)
    def update_image(self, image: str, objects: int, less: int) -> None:
        size = objects * self.object_size(image) - less
        outcome = self.do("UpdateImage", partial(self.model.resize, image, size), image, quotaBytes=size)
        if outcome.reply is not None:
            self.is_told(outcome.reply, image)

    @rule(image=IMAGE)
    def delete_image(self, image: str) -> None:
        outcome = self.do("DeleteImage", partial(self.model.delete, image), image)
        if outcome.code == "failed_precondition":
            assert violations(outcome) == set(self.in_the_way(f"{self.place}/{image}"))

    def in_the_way(self, place: str) -> Iterator[str]:
        """The snapshots that `rbd` lists. One that was deleted has its old name, and comes with its clones."""
        for snapshot in self.tools.rbd_json("snap", "ls", "--all", place):
            namespace = snapshot["namespace"]
            if namespace["type"] != "trash":
                yield snapshot["name"]
                continue
            yield namespace["original_name"]
            for clone in self.tools.rbd_json("children", "--snap-id", str(snapshot["id"]), place):
                yield f"{self.place}/{clone['image']}"

    @rule(image=IMAGE, snapshot=st.sampled_from(SNAPSHOTS))
    def create_snapshot(self, image: str, snapshot: str) -> None:
        change = partial(self.model.create_snapshot, image, snapshot)
        outcome = self.do("CreateImageSnapshot", change, image, snapshot)
        if outcome.code != "not_found":
            told = outcome.details["Snapshot"] if outcome.reply is None else outcome.reply
            model = self.model.find(image).find(snapshot)
            assert told == as_json(
                {
                    "name": snapshot,
                    "protected": model.protected,
                    "quotaBytes": len(model.content),
                    "usedBytes": printed_used(self.tools, f"{self.place}/{image}")[snapshot],
                }
            )

    @rule(of=SNAPSHOT)
    def delete_snapshot(self, of: tuple[str, str]) -> None:
        self.do("DeleteImageSnapshot", partial(self.model.delete_snapshot, *of), *of)

    @rule(of=SNAPSHOT)
    def protect_snapshot(self, of: tuple[str, str]) -> None:
        self.do("ProtectImageSnapshot", partial(self.model.protect, *of), *of)

    @rule(of=SNAPSHOT)
    def unprotect_snapshot(self, of: tuple[str, str]) -> None:
        outcome = self.do("UnprotectImageSnapshot", partial(self.model.unprotect, *of), *of)
        if outcome.code == "failed_precondition":
            clones = self.tools.rbd_json("children", f"{self.place}/{of[0]}@{of[1]}")
            assert violations(outcome) == {f"{self.place}/{clone['image']}" for clone in clones}

    @rule(of=SNAPSHOT)
    def roll_back(self, of: tuple[str, str]) -> None:
        outcome = self.do("RollbackImageSnapshot", partial(self.model.roll_back, *of), *of)
        if outcome.code is None:
            assert self.read(of[0]) == self.model.find(of[0]).content

    @precondition(lambda self: not self.compared)
    @rule()
    def list_images(self) -> None:
        outcome = self.do("ListImages", accept)
        assert outcome.reply is not None
        names = sorted(self.tools.rbd_json("ls", self.place))
        printed = [printed_image(self.tools, self.place, name) for name in names]
        assert [image for image in outcome.reply.get("images", []) if image["poolName"] == self.place] == printed
        assert [in_short(image) for image in printed] == [self.remembered(name) for name in sorted(self.model.by_name)]
        self.compared = True

    @rule(application=st.sampled_from(["", "rbd", "nobody's"]))
    def list_pools(self, application: str) -> None:
        outcome = self.do("ListPools", accept, application=application)
        assert outcome.reply is not None
        told = {pool["name"]: {"applications": [], **pool} for pool in outcome.reply.get("pools", [])}
        for pool in self.pools:
            if application and application not in pool["applications"]:
                assert pool["name"] not in told
            else:
                assert pool.items() <= told[pool["name"]].items()

    @rule(image=IMAGE, number=OBJECTS, into=SOME_BYTES, length=st.sampled_from([1, 512, 100_000]))
    def write(self, image: str, number: int, into: int, length: int) -> None:
        """Write what differs from what was there, as a client elsewhere does."""
        model = self.model.by_name.get(image)
        if model is None:
            return
        offset = ((number - 1) * self.object_size(image) + into) % len(model.content)
        data = bytes([next(self.stamps) % 255 + 1]) * min(length, len(model.content) - offset)
        with rbd.Image(self.ioctx, image) as opened:
            opened.write(data, offset)
        model.write(data, offset)
        self.forget()

    @rule(image=IMAGE, number=OBJECTS)
    def discard(self, image: str, number: int) -> None:
        """Discard a whole object: librbd leaves smaller parts as they are."""
        model = self.model.by_name.get(image)
        size = self.object_size(image)
        if model is None or number * size > len(model.content):
            return
        with rbd.Image(self.ioctx, image) as opened:
            if opened.stripe_count() == 1:
                opened.discard((number - 1) * size, size)
                model.write(bytes(size), (number - 1) * size)
                self.forget()

    @rule(of=SNAPSHOT, clone=st.sampled_from(IMAGES), form=FORM, features=FEATURE)
    def clone(self, of: tuple[str, str], clone: str, form: int, features: str) -> None:
        """Clone a snapshot, where it can be cloned: by format 2 also while it is not protected."""
        found = self.model.by_name[of[0]].snapshots.get(of[1]) if of[0] in self.model.by_name else None
        if found is None or not self.model.by_name[of[0]].layering or clone in self.model.by_name:
            return
        if form == 1:
            self.protect_snapshot(of)
        words = [] if features == "default" else ["--image-feature", "layering"]
        source = f"{self.place}/{of[0]}@{of[1]}"
        self.tools.rbd("clone", "--rbd-default-clone-format", str(form), *words, source, f"{self.place}/{clone}")
        self.model.clone(clone, found, form)
        self.forget()

    def do(
        self,
        rpc: str,
        change: Callable[[], None],
        image: str = "",
        snapshot: str = "",
        **fields: Any,  # noqa: ANN401 - what JSON holds
    ) -> Outcome:
        """Call, and see that it is answered as the model says."""
        names = {"poolName": self.place, "imageName": image, "snapshotName": snapshot}
        named = {field: name for field, name in names.items() if image and name}
        outcome = self.call({"scope": "test", **named, **fields}, rpc)
        reason = reason_of(change)
        if reason is None:
            assert outcome.code is None, outcome
            self.forget()
        else:
            assert (outcome.code, outcome.reason) == (CODES[reason], reason), outcome
        return outcome

    def is_told(self, told: dict[str, Any], image: str) -> None:
        """See that an image's message has what the model knows, and the used bytes that `rbd du` prints."""
        assert in_short(told) == self.remembered(image)
        used = {each["name"]: int(each["usedBytes"]) for each in told.get("snapshots", [])}
        assert {**used, None: int(told["usedBytes"])} == printed_used(self.tools, f"{self.place}/{image}")

    def remembered(self, name: str) -> tuple[object, ...]:
        """What the model has of an image, as ``in_short`` gives it."""
        image = self.model.find(name)
        snapshots = [(each, snapshot.protected, len(snapshot.content)) for each, snapshot in image.snapshots.items()]
        return name, len(image.content), image.layering, snapshots

    def forget(self) -> None:
        """Believe no longer what was printed: something was changed."""
        self.tools.printed.clear()
        self.compared = False

    def object_size(self, image: str) -> int:
        """The object size of an image, or that of another where there is no such image."""
        if image not in self.model.by_name:
            return 64 * KIB
        with closing(rbd.Image(self.ioctx, image, read_only=True)) as opened:
            return opened.stat()["obj_size"]

    def read(self, image: str, snapshot: str | None = None) -> bytes:
        with closing(rbd.Image(self.ioctx, image, snapshot, read_only=True)) as opened:
            return opened.read(0, opened.size())

    def bytes_are_as_remembered(self) -> None:
        for name, image in self.model.by_name.items():
            assert self.read(name) == image.content
            for snapshot, remembered in image.snapshots.items():
                assert self.read(name, snapshot) == remembered.content
            with closing(rbd.Image(self.ioctx, name, read_only=True)) as opened:
                assert len(list(opened.list_snaps())) == len(image.snapshots) + len(image.kept)

    def remove_everything(self) -> None:
        """Remove the images, clones before what they are clones of, and the namespace."""
        while names := rbd.RBD().list(self.ioctx):
            removed = [name for name in names if self.is_removed(name)]
            assert removed, names
        rbd.RBD().namespace_remove(self.ioctx, self.namespace)

    def is_removed(self, name: str) -> bool:
        """Remove an image and its snapshots, unless these have clones."""
        try:
            with rbd.Image(self.ioctx, name) as image:
                for snapshot in image.list_snaps():
                    if snapshot["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER:
                        if image.is_protected_snap(snapshot["name"]):
                            image.unprotect_snap(snapshot["name"])
                        image.remove_snap(snapshot["name"])
            rbd.RBD().remove(self.ioctx, name)
        except (rbd.ImageBusy, rbd.ImageHasSnapshots):
            return False
        return True


def accept() -> None:
    """Let a call succeed that changes nothing."""


def refuse_layout() -> None:
    raise RefusedError("INVALID_LAYOUT")


def violations(outcome: Outcome) -> set[str]:
    """The subjects of what stands in a call's way."""
    return {violation["subject"] for violation in outcome.details["PreconditionFailure"]["violations"]}


def in_short(image: dict[str, Any]) -> tuple[object, ...]:
    """What the model knows, too, of an image's message: name, size, layering, and snapshots."""
    snapshots = [(each["name"], each["protected"], int(each["quotaBytes"])) for each in image.get("snapshots", [])]
    return image["name"], int(image["quotaBytes"]), image["layering"], snapshots


def printed_pools(tools: Tools) -> list[dict[str, Any]]:
    """What `ceph osd pool ls detail` prints, of what does not change by itself."""
    listed = json.loads(tools.ceph("osd", "pool", "ls", "detail", "--format", "json"))
    return [
        {
            **as_json({"id": pool["pool_id"], "placementGroupCount": pool["pg_num"]}),
            "name": pool["pool_name"],
            "applications": sorted(pool["application_metadata"]),
        }
        for pool in listed
    ]


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose user sees a pool of its own alone: the images of other tests would make each list longer."""
    cluster.create_pool(POOL)
    tools.ceph("osd", "pool", "create", POOL_OF_NOTHING, "1")
    cluster.create_user(USER, mon="profile rbd", osd=f"profile rbd pool={POOL}")
    settings = write_scope("test", cluster, [f'client = "{USER}"'])
    with run_server(tmp_path_factory.mktemp("random"), settings) as server:
        yield server
    for pool in (POOL, POOL_OF_NOTHING):
        cluster.delete_pool(pool)


@pytest.mark.timeout(600)  # to shrink what fails takes a while
@pytest.mark.parametrize("transport", sorted(CALLS))
def test_random_calls(server: Server, tools: Tools, transport: str) -> None:
    pools = printed_pools(tools)

    class Calls(RandomCalls):
        def __init__(self) -> None:
            super().__init__(partial(CALLS[transport], server), tools, pools)

    run_state_machine_as_test(
        Calls,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
