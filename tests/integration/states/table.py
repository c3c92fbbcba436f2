"""The table itself: each state, how it is made with Ceph's own tools, and what is answered.

A state is a few lines here: a function that makes it of an image with 16 MiB, a snapshot ``first``, and data written
before and after that. Where it yields, the calls are tried then. A call that is not named under ``answers`` is answered
``ok``.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from .maker import Maker, Target

__all__ = ["CALLS", "STATES", "State"]

CREATE_SNAPSHOT = "CreateImageSnapshot"
PROTECT = "ProtectImageSnapshot"
UNPROTECT = "UnprotectImageSnapshot"
GROW = "UpdateImage (larger)"
ROLL_BACK = "RollbackImageSnapshot"
SHRINK = "UpdateImage (smaller)"
CREATE = "CreateImage"
DELETE_SNAPSHOT = "DeleteImageSnapshot"
DELETE = "DeleteImage"
# In this order they are tried, so that each has something to do.
CALLS = (CREATE_SNAPSHOT, PROTECT, UNPROTECT, GROW, ROLL_BACK, SHRINK, CREATE, DELETE_SNAPSHOT, DELETE)

# What ListImages tells of the image.
WHOLE, BY_NAME, ABSENT = "listed", "listed by name only", "not listed"

Answers = dict[str, str]
Make = Callable[[Maker, Target], "Iterator[None] | None"]


@dataclass(frozen=True)
class State:
    """A state: its name, how it is made, and what is answered on it."""

    name: str
    make: Callable[[Maker, Target], AbstractContextManager[None]]
    answers: Answers
    listed: str
    seconds: float


STATES: list[State] = []


def state(
    name: str,
    answers: Answers | None = None,
    *,
    options: Sequence[str] | None = (),
    listed: str = WHOLE,
    seconds: float = 10,
) -> Callable[[Make], Make]:
    """Add a state to the table. ``options`` are those of `rbd create`; None is for a state that makes its own image.

    ``seconds`` is how long a call may take.
    """

    def add(make: Make) -> Make:
        def made(maker: Maker, target: Target) -> AbstractContextManager[None]:
            if options is not None:
                maker.image(target, *options)
            if inspect.isgeneratorfunction(make):
                entered: AbstractContextManager[None] = contextmanager(make)(maker, target)
                return entered
            make(maker, target)
            return nullcontext()

        all_answers = dict.fromkeys(CALLS, "ok") | {CREATE: "already_exists IMAGE_EXISTS"} | dict(answers or {})
        STATES.append(State(name, made, all_answers, listed, seconds))
        return make

    return add


def every(answer: str) -> Answers:
    """One answer to all calls."""
    return on(answer, *CALLS)


def on(answer: str, *calls: str) -> Answers:
    """One answer to some calls."""
    return dict.fromkeys(calls, answer)


IN_USE = "failed_precondition IMAGE_IN_USE"
REPLICA = "failed_precondition IMAGE_NON_PRIMARY"
NO_DATA = "failed_precondition DATA_POOL_MISSING"
NO_PARENT = "failed_precondition PARENT_MISSING"
NO_IMAGE = "not_found IMAGE_NOT_FOUND"
NO_SNAPSHOT = "not_found SNAPSHOT_NOT_FOUND"
QUOTA = "resource_exhausted POOL_QUOTA_REACHED"
UNSERVED = "unavailable POOL_INACTIVE"
NO_CAPS = "permission_denied CEPH_CAPS_MISSING"
HAS_SNAPSHOTS = "failed_precondition IMAGE_HAS_SNAPSHOTS"
INCOMPLETE = "failed_precondition IMAGE_INCOMPLETE"
FOREIGN = "failed_precondition SNAPSHOT_NOT_A_USERS"
LOCKED = on(IN_USE, CREATE_SNAPSHOT, GROW, ROLL_BACK, SHRINK, DELETE_SNAPSHOT) | {DELETE: HAS_SNAPSHOTS}


@state("an ordinary image")
def ordinary(_maker: Maker, _target: Target) -> None:
    """It is."""


@state(
    "there is no such image",
    on(NO_IMAGE, *CALLS) | {CREATE: "ok", DELETE_SNAPSHOT: NO_SNAPSHOT, DELETE: "ok"},
    options=None,
    listed=ABSENT,
)
def absent(_maker: Maker, _target: Target) -> None:
    """Nothing is made; CreateImage makes it, and DeleteImage deletes that."""


@state("another client has the exclusive lock, and answers", on(IN_USE, ROLL_BACK, SHRINK, DELETE))
def locked_by_a_writer(maker: Maker, target: Target) -> Iterator[None]:
    with maker.client(target, writes=True):
        yield


@state("another client has the image open, without a lock", on(IN_USE, ROLL_BACK, SHRINK, DELETE))
def open_elsewhere(maker: Maker, target: Target) -> Iterator[None]:
    with maker.client(target, writes=False):
        yield


@state(
    "an image without exclusive lock, which another client has open",
    on(IN_USE, ROLL_BACK, SHRINK, DELETE),
    options=("--image-feature", "layering"),
)
def open_without_lock(maker: Maker, target: Target) -> Iterator[None]:
    with maker.client(target, writes=True):
        yield


@state("locked by hand (`rbd lock add`)", LOCKED)
def locked_by_hand(maker: Maker, target: Target) -> Iterator[None]:
    with maker.client(target, writes=False, locks=True):
        yield


@state("of format 1", options=None)
def format_1(maker: Maker, target: Target) -> None:
    maker.image_of_format_1(target)


@state(
    "without the feature layering",
    on("failed_precondition IMAGE_WITHOUT_LAYERING", PROTECT),
    options=("--image-feature", "exclusive-lock"),
)
def without_layering(_maker: Maker, _target: Target) -> None:
    """As its options say."""


@state("with journaling", options=("--image-feature", "layering,exclusive-lock,journaling"))
def journaling(_maker: Maker, _target: Target) -> None:
    """As its options say."""


@state("encrypted (LUKS)", options=("--image-feature", "layering"))
def encrypted(maker: Maker, target: Target) -> None:
    passphrase = maker.cluster.folder / "passphrase"
    passphrase.write_text("open sesame")
    maker.rbd("encryption", "format", target.at, "luks1", str(passphrase))


@state("the primary image of a mirror, by snapshots")
def primary_by_snapshots(maker: Maker, target: Target) -> None:
    maker.mirrored(target, "snapshot")


@state("the primary image of a mirror, by journal", options=("--image-feature", "layering,exclusive-lock,journaling"))
def primary_by_journal(maker: Maker, target: Target) -> None:
    maker.mirrored(target, "journal")


@state("the replica of a mirror, by snapshots", every(REPLICA) | {CREATE: "already_exists IMAGE_EXISTS"})
def replica_by_snapshots(maker: Maker, target: Target) -> None:
    maker.mirrored(target, "snapshot")
    maker.rbd("mirror", "image", "demote", target.at)


@state(
    "the replica of a mirror, by journal",
    every(REPLICA) | {CREATE: "already_exists IMAGE_EXISTS", UNPROTECT: "ok"},
    options=("--image-feature", "layering,exclusive-lock,journaling"),
)
def replica_by_journal(maker: Maker, target: Target) -> None:
    maker.mirrored(target, "journal")
    maker.rbd("mirror", "image", "demote", target.at)


@state("a member of a group", on("failed_precondition IMAGE_IN_GROUP", DELETE))
def in_a_group(maker: Maker, target: Target) -> None:
    group = f"{target.pool}/group-of-{target.image}"
    maker.rbd("group", "create", group)
    maker.rbd("group", "image", "add", group, target.at)


@state(
    "the snapshot is a group's",
    on(FOREIGN, PROTECT, UNPROTECT, ROLL_BACK, DELETE_SNAPSHOT) | {DELETE: "failed_precondition IMAGE_IN_GROUP"},
)
def snapshot_of_a_group(maker: Maker, target: Target) -> None:
    in_a_group(maker, target)
    maker.rbd("group", "snap", "create", f"{target.pool}/group-of-{target.image}@all")
    target.snapshot = maker.snapshot_of_kind(target, "group")


@state(
    "the snapshot is mirroring's", on(FOREIGN, PROTECT, UNPROTECT, ROLL_BACK, DELETE_SNAPSHOT) | {DELETE: HAS_SNAPSHOTS}
)
def snapshot_of_mirroring(maker: Maker, target: Target) -> None:
    maker.mirrored(target, "snapshot")
    target.snapshot = maker.snapshot_of_kind(target, "mirror")


@state("under migration, prepared", on("failed_precondition IMAGE_MIGRATING", DELETE), options=None)
def migration_prepared(maker: Maker, target: Target) -> None:
    maker.migrated(target)


@state("under migration, executed", on("failed_precondition IMAGE_MIGRATING", DELETE), options=None)
def migration_executed(maker: Maker, target: Target) -> None:
    maker.migrated(target, "execute")


@state("migrated", options=None)
def migrated(maker: Maker, target: Target) -> None:
    maker.migrated(target, "execute", "commit")


@state(
    "under migration, and the source is lost",
    every("failed_precondition MIGRATION_SOURCE_MISSING"),
    options=None,
    listed=BY_NAME,
)
def migration_without_source(maker: Maker, target: Target) -> None:
    maker.remove_pool(maker.migrated(target))


@state("a clone", options=None)
def clone(maker: Maker, target: Target) -> None:
    maker.clone(target, target.pool)


@state("a clone of format 1", options=None)
def clone_of_format_1(maker: Maker, target: Target) -> None:
    maker.clone(target, target.pool, version=1)


@state("a clone, whose parent is in the trash", options=None)
def clone_of_trash(maker: Maker, target: Target) -> None:
    maker.rbd("trash", "mv", maker.clone(target, target.pool))


@state("a clone of an image in another pool", options=None)
def clone_across_pools(maker: Maker, target: Target) -> None:
    maker.clone(target, maker.pool(f"parents-of-{target.image}"))


@state("a flattened clone", options=None)
def flattened(maker: Maker, target: Target) -> None:
    maker.clone(target, target.pool)
    maker.rbd("flatten", "--no-progress", target.at)


@state("a clone, whose parent's pool is lost", every(NO_PARENT), options=None, listed=BY_NAME)
def orphan(maker: Maker, target: Target) -> None:
    parents = maker.pool(f"parents-of-{target.image}")
    maker.clone(target, parents)
    maker.remove_pool(parents)


@state(
    "a clone without snapshots, whose parent's pool is lost",
    every(NO_PARENT) | {DELETE: "ok"},
    options=None,
    listed=BY_NAME,
)
def orphan_without_snapshots(maker: Maker, target: Target) -> None:
    parents = maker.pool(f"parents-of-{target.image}")
    maker.clone(target, parents, snapshot=None)
    maker.remove_pool(parents)


@state("a clone, whose parent's pool no OSD serves", every(UNSERVED), options=None, listed=BY_NAME, seconds=15)
def clone_of_unserved(maker: Maker, target: Target) -> Iterator[None]:
    parents = maker.pool(f"parents-of-{target.image}")
    maker.clone(target, parents)
    target.is_readable = False
    with maker.unserved(parents):
        yield


@state(
    "the snapshot has a clone of format 1",
    on("failed_precondition SNAPSHOT_HAS_CLONES", UNPROTECT)
    | on("failed_precondition SNAPSHOT_PROTECTED", DELETE_SNAPSHOT)
    | {DELETE: HAS_SNAPSHOTS},
)
def with_a_clone_of_format_1(maker: Maker, target: Target) -> None:
    at = f"{target.at}@{target.snapshot}"
    maker.rbd("snap", "protect", at)
    maker.rbd("clone", "--rbd-default-clone-format=1", at, f"{target.at}-clone")


@state("the snapshot has a clone", {DELETE: HAS_SNAPSHOTS})
def with_a_clone(maker: Maker, target: Target) -> None:
    maker.rbd("clone", "--rbd-default-clone-format=2", f"{target.at}@{target.snapshot}", f"{target.at}-clone")


@state(
    "the snapshot was deleted, and is kept for its clone",
    on(NO_SNAPSHOT, PROTECT, UNPROTECT, ROLL_BACK, DELETE_SNAPSHOT) | {DELETE: HAS_SNAPSHOTS},
)
def kept_for_a_clone(maker: Maker, target: Target) -> None:
    with_a_clone(maker, target)
    maker.rbd("snap", "rm", "--no-progress", f"{target.at}@{target.snapshot}")


@state("the object map is marked invalid")
def map_invalid(maker: Maker, target: Target) -> None:
    maker.invalidate_map(target)


@state("the object map is missing")
def map_missing(maker: Maker, target: Target) -> None:
    maker.rados(target.pool, "rm", f"rbd_object_map.{maker.image_id(target)}")


@state("the object map is garbled")
def map_garbled(maker: Maker, target: Target) -> None:
    garbage = maker.cluster.folder / "garbage"
    garbage.write_bytes(b"garbage")
    maker.rados(target.pool, "put", f"rbd_object_map.{maker.image_id(target)}", str(garbage))


@state("in the trash", on(NO_IMAGE, *CALLS) | {CREATE: "ok", DELETE_SNAPSHOT: NO_SNAPSHOT, DELETE: "ok"}, listed=ABSENT)
def in_the_trash(maker: Maker, target: Target) -> None:
    maker.rbd("trash", "mv", target.at)


@state("its header is lost", every(INCOMPLETE) | {DELETE: "ok"}, listed=BY_NAME)
def without_header(maker: Maker, target: Target) -> None:
    maker.rados(target.pool, "rm", f"rbd_header.{maker.image_id(target)}")


@state("its id is lost", every(INCOMPLETE), listed=BY_NAME)
def without_id(maker: Maker, target: Target) -> None:
    maker.rados(target.pool, "rm", f"rbd_id.{target.image}")


@state("with 600 snapshots", {DELETE: HAS_SNAPSHOTS}, seconds=20)
def with_600_snapshots(maker: Maker, target: Target) -> None:
    maker.many_snapshots(target, 600)


@state("its limit of snapshots is reached", on("resource_exhausted QUOTA_EXCEEDED", CREATE_SNAPSHOT))
def limit_reached(maker: Maker, target: Target) -> None:
    maker.rbd("snap", "limit", "set", "--limit", "1", target.at)


@state(
    "its pool's quota is reached", on(QUOTA, CREATE_SNAPSHOT, PROTECT, GROW, ROLL_BACK, SHRINK, CREATE), options=None
)
def pool_at_quota(maker: Maker, target: Target) -> Iterator[None]:
    target.pool = maker.pool(f"pool-of-{target.image}")
    target.pools.append(target.pool)
    maker.image(target)
    with maker.quota(target.pool):
        yield


@state("no OSD serves its pool", every(UNSERVED), options=None, listed=ABSENT, seconds=15)
def pool_unserved(maker: Maker, target: Target) -> Iterator[None]:
    target.pool = maker.pool(f"pool-of-{target.image}")
    target.pools.append(target.pool)
    maker.image(target)
    with maker.unserved(target.pool):
        target.is_readable = False
        target.pools.remove(target.pool)
        yield


@state("its data is in another pool", options=None)
def with_data_pool(maker: Maker, target: Target) -> None:
    maker.image(target, "--data-pool", maker.pool(f"data-of-{target.image}"))


@state("its data pool's quota is reached", on(QUOTA, ROLL_BACK, SHRINK), options=None)
def data_pool_at_quota(maker: Maker, target: Target) -> Iterator[None]:
    data = maker.pool(f"data-of-{target.image}")
    maker.image(target, "--data-pool", data)
    with maker.quota(data):
        yield


@state(
    "no OSD serves its data pool",
    on(UNSERVED, CREATE_SNAPSHOT, UNPROTECT, ROLL_BACK, SHRINK, DELETE_SNAPSHOT, DELETE),
    options=None,
    seconds=15,
)
def data_pool_unserved(maker: Maker, target: Target) -> Iterator[None]:
    data = maker.pool(f"data-of-{target.image}")
    maker.image(target, "--data-pool", data)
    with maker.unserved(data):
        yield


@state("its data pool is lost", on(NO_DATA, CREATE_SNAPSHOT, GROW, ROLL_BACK, SHRINK), options=None)
def data_pool_lost(maker: Maker, target: Target) -> None:
    data = maker.pool(f"data-of-{target.image}")
    maker.image(target, "--data-pool", data)
    maker.remove_pool(data)


@state(
    "its journal is in another pool, whose quota is reached",
    on(QUOTA, CREATE_SNAPSHOT, PROTECT, UNPROTECT, GROW, ROLL_BACK, SHRINK, DELETE_SNAPSHOT) | {DELETE: HAS_SNAPSHOTS},
    options=None,
)
def journal_pool_at_quota(maker: Maker, target: Target) -> Iterator[None]:
    journal = maker.pool(f"journal-of-{target.image}")
    maker.image(target, "--image-feature", "layering,exclusive-lock,journaling", "--journal-pool", journal)
    with maker.quota(journal):
        yield


@state(
    "the Ceph user has no capability for its data pool",
    on(NO_CAPS, CREATE_SNAPSHOT, ROLL_BACK, SHRINK, DELETE_SNAPSHOT, DELETE),
    options=None,
)
def without_caps_for_data(maker: Maker, target: Target) -> None:
    target.scope = "one-pool"
    maker.image(target, "--data-pool", maker.pool(f"data-of-{target.image}"))


@state("the Ceph user may only read its parent's pool", {DELETE: NO_CAPS}, options=None)
def without_caps_for_parent(maker: Maker, target: Target) -> None:
    target.scope = "reads-parents"
    maker.clone(target, "readable")


@state("the snapshot's name begins with a dot", options=None)
def hidden_name(maker: Maker, target: Target) -> None:
    target.snapshot = ".hidden"
    maker.image(target)


@state("the snapshot's name has a slash, a tab and a newline", options=None)
def strange_name(maker: Maker, target: Target) -> None:
    maker.image(target)
    target.snapshot = "a/b\tc\nd"
    maker.snapshot_by_librbd(target, target.snapshot)
    maker.rbd("snap", "rm", "--no-progress", f"{target.at}@first")


@state("another snapshot's name is not UTF-8", {DELETE: HAS_SNAPSHOTS})
def snapshot_not_utf_8(maker: Maker, target: Target) -> None:
    maker.snapshot(target.at, "\udcff\udcfe")


@state("a clone's name is not UTF-8", {DELETE: HAS_SNAPSHOTS})
def clone_not_utf_8(maker: Maker, target: Target) -> None:
    maker.rbd("clone", "--rbd-default-clone-format=2", f"{target.at}@first", f"{target.at}\udcff")


@state("locked by hand, under a name that is not UTF-8", LOCKED)
def lock_not_utf_8(maker: Maker, target: Target) -> None:
    maker.rbd("lock", "add", target.at, "\udcff")


@state("the image's name begins with a dot", {CREATE: "invalid_argument INVALID_NAME"}, options=None)
def hidden_image(maker: Maker, target: Target) -> None:
    target.image = f".{target.image}"
    maker.image(target)


@state("its pool has no application", {CREATE: "failed_precondition POOL_NOT_FOR_IMAGES"}, options=None, listed=ABSENT)
def without_application(maker: Maker, target: Target) -> None:
    target.pool = maker.pool(f"pool-of-{target.image}")
    target.pools.append(target.pool)
    maker.image(target)
    maker.ceph("osd", "pool", "application", "disable", target.pool, "rbd", "--yes-i-really-mean-it")


@state("Ceph is told to move deleted images to the trash")
def move_to_trash(maker: Maker, target: Target) -> Iterator[None]:
    option = (target.pool, "rbd_move_to_trash_on_remove")
    maker.rbd("config", "pool", "set", *option, "true")
    try:
        yield
    finally:
        maker.rbd("config", "pool", "rm", *option)
