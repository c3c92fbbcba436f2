"""A cluster, a pool, an image that takes no more."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import rados

from support.cluster import POOL, QUICK
from support.waiting import wait_until

from ..environment import Trial
from ..scenario import Scenario

__all__ = ["SCENARIOS", "TINY", "TINY_DRILLS"]

TINY = replace(QUICK, osd_bytes=1 << 30)

_PIECE = bytes(4 << 20)
_PIECES = 140  # more than half of it, and less than all
_MORE = 20


def _fill_osd(trial: Trial) -> None:
    """Fill it by writing; then remove what was written."""
    image = trial.environment.new_images(1)
    # Well before the OSD itself stops to answer, which it does without a word.
    for kind, ratio in (("nearfull", 0.4), ("backfillfull", 0.45), ("full", 0.5)):
        trial.cluster.command(f"osd set-{kind}-ratio", ratio=ratio)
    with trial.tools.ioctx() as ioctx:
        ioctx.set_osdmap_full_try()  # else a write, and even a removal, waits for space
        with suppress(rados.NoSpace):  # sooner, where what else is on the OSD is more
            for number in range(_PIECES):
                ioctx.write_full(f"filler-{number}", _PIECE)
        wait_until(lambda: "full" in _flags(trial))
        _expect_refusal(trial, image, "POOL_FULL")
        for name in [entry.key for entry in ioctx.list_objects() if entry.key.startswith("filler-")]:
            ioctx.remove_object(name)
    wait_until(lambda: "full" not in _flags(trial))


def _reach_quota(trial: Trial) -> None:
    image = trial.environment.new_images(1)
    trial.cluster.command("osd pool set-quota", pool=POOL, field="max_objects", val="1")
    wait_until(lambda: "full_quota" in _flags(trial))
    _expect_refusal(trial, image, "POOL_QUOTA_REACHED")
    trial.cluster.command("osd pool set-quota", pool=POOL, field="max_objects", val="0")
    wait_until(lambda: "full" not in _flags(trial))


def _reach_snapshot_limit(trial: Trial) -> None:
    for image in trial.images:
        limit = len(trial.tools.snapshots(image)) + _MORE
        trial.tools.rbd("snap", "limit", "set", "--limit", str(limit), image)
    wait_until(lambda: any(record.answer.reason == "QUOTA_EXCEEDED" for record in list(trial.traffic.records)))
    for image in trial.images:
        trial.tools.rbd("snap", "limit", "clear", image)


def _expect_refusal(trial: Trial, images: Sequence[str], reason: str) -> None:
    """See that a call that comes now is refused at once; those that were under way wait for space."""
    with trial.traffic.once(trial.environment.server, images):
        pass
    found = {record.answer.reason for record in trial.traffic.records if record.image in images}
    trial.expect(found == {reason}, f"where there is no space, calls are answered {found}")


def _flags(trial: Trial) -> list[str]:
    pools = trial.cluster.command("osd pool ls", detail="detail")
    (flags,) = [pool["flags_names"] for pool in pools if pool["pool_name"] == POOL]
    return str(flags).split(",")


SCENARIOS = (
    Scenario("pool quota reached", _reach_quota, brings=frozenset({"POOL_QUOTA_REACHED", "QUOTA_EXCEEDED"})),
    Scenario("snapshot limit reached", _reach_snapshot_limit, brings=frozenset({"QUOTA_EXCEEDED"})),
)

# Where the OSD is tiny.
TINY_DRILLS = (
    Scenario(
        "OSD full",
        _fill_osd,
        brings=frozenset({"POOL_FULL", "NO_SPACE"}),
        takes_long=True,
    ),
)
