"""What became of each call of a scenario, by what the cluster itself lists."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from support.tools import ToolFailedError, Tools

from .traffic import Record

__all__ = ["TROUBLE", "Findings", "Found", "evaluate", "look"]

TROUBLE = frozenset({"OUTCOME_UNKNOWN", "CEPH_TIMED_OUT", "CONNECT_FAILED", "CONNECTION_LOST", "LOCK_UNAVAILABLE"})
_LOOKED_AT_ONCE = 4


@dataclass(frozen=True)
class Found:
    """A snapshot: its size and its used bytes, as `rbd snap ls` and `rbd du` print them."""

    size: int
    used: int


@dataclass
class Findings:
    """``outcomes`` are calls by code and reason; ``unknown`` are those of unknown outcome, by what was found."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    looked_at: int = 0
    wrong: list[str] = field(default_factory=list)


def look(tools: Tools, images: Iterable[str]) -> dict[str, dict[str, Found]]:
    """Give the snapshots of each image, by name."""

    def one(image: str) -> dict[str, Found]:
        sizes = {snapshot["name"]: int(snapshot["size"]) for snapshot in tools.snapshots(image)}
        used = _used(tools, image) if sizes else {}
        return {name: Found(size, used[name]) for name, size in sizes.items()}

    names = list(images)
    with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def _used(tools: Tools, image: str) -> dict[str, int]:
    try:
        rows = tools.rbd_json("du", image)["images"]
    except ToolFailedError:  # a create that was interrupted left a snapshot without its object map
        return tools.used_by_diff(image)
    return {row["snapshot"]: int(row["used_size"]) for row in rows if "snapshot" in row}


def evaluate(
    records: Iterable[Record],
    found: Mapping[str, Mapping[str, Found]],
    gone: Collection[str] = (),
    also_expected: Collection[str] = (),
) -> Findings:
    """Compare the answers with the snapshots that each image has.

    ``gone`` are the images and snapshots that the scenario removed; ``also_expected`` are the reasons of errors that it
    brings about, besides those of a cluster in trouble.
    """
    findings = Findings()
    # Where a snapshot was removed, what it used counts for the next one.
    shifted = {name.partition("@")[0] for name in gone if "@" in name}
    for record in records:
        answer = record.answer
        name = f"{record.image}@{record.snapshot}"
        findings.outcomes["ok" if record.is_ok else f"{answer.code} {answer.reason or ''}".strip()] += 1
        if not record.is_ok and answer.reason is not None and answer.reason not in TROUBLE | set(also_expected):
            findings.wrong.append(f"{name} was answered {answer.code} {answer.reason}")
        if record.image in gone or name in gone:
            continue
        findings.looked_at += 1
        snapshot = found[record.image].get(record.snapshot)
        if record.is_ok:
            problems = _problems(record, snapshot, usage_holds=record.image not in shifted)
            findings.wrong.extend(f"{name} was acknowledged, and {problem}" for problem in problems)
        elif answer.reason is None or answer.reason == "OUTCOME_UNKNOWN":  # without a reason, the client itself gave up
            findings.unknown["not there" if snapshot is None else "there"] += 1
        elif snapshot is not None:
            findings.wrong.append(f"{name} is there, in spite of {answer.code} {answer.reason}")
    return findings


def _problems(record: Record, found: Found | None, *, usage_holds: bool) -> Iterable[str]:
    """Say what is wrong with a snapshot that was acknowledged. Used bytes may have been left unset."""
    told = record.answer.snapshot
    assert told is not None
    if found is None:
        yield "is not there"
    elif told.quota_bytes != found.size:
        yield f"has {found.size} bytes, not {told.quota_bytes}"
    elif usage_holds and told.HasField("used_bytes") and told.used_bytes != found.used:
        yield f"uses {found.used} bytes, not {told.used_bytes}"
