"""How long something takes."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import median

from .progress import shown

__all__ = ["medians", "milliseconds"]


def milliseconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1000


def medians(ways: Mapping[str, Callable[[], object]], rounds: int, label: str) -> Mapping[str, float]:
    """Go each way in each round, and give the median of the milliseconds that each takes."""
    took = defaultdict(list)
    for _ in shown(range(rounds), label):
        for name, function in ways.items():
            took[name].append(milliseconds(function))
    return {name: median(taken) for name, taken in took.items()}
