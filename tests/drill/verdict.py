"""What became of each call of a drill, by what the cluster itself lists."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .traffic import Record

__all__ = ["Verdict", "judge"]

_UNKNOWN = "OUTCOME_UNKNOWN"
_NEVER = frozenset({"internal", "unknown"})


@dataclass
class Verdict:
    """``outcomes`` are calls by code and reason; ``unknown`` are those of unknown outcome, by what was found."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def judge(records: Sequence[Record], listed: Mapping[str, Mapping[str, int]], size: int) -> Verdict:
    """Compare the answers with the snapshots that each image has, by name and size in bytes."""
    verdict = Verdict()
    for record in records:
        answer = record.answer
        name = f"{record.image}@{record.snapshot}"
        found = listed[record.image].get(record.snapshot)
        verdict.outcomes["ok" if answer.code is None else f"{answer.code} {answer.reason or ''}".strip()] += 1
        if answer.code is None:
            if found != size:
                verdict.wrong.append(f"{name} was acknowledged, and is {'not there' if found is None else found}")
        elif answer.code in _NEVER:
            verdict.wrong.append(f"{name} was answered {answer.code}")
        elif answer.reason == _UNKNOWN or (answer.code == "deadline_exceeded" and answer.reason is None):
            verdict.unknown["there" if found is not None else "not there"] += 1
        elif found is not None:
            verdict.wrong.append(f"{name} is there, in spite of {answer.code} {answer.reason}")
    return verdict
