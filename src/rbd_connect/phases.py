"""Where a call's time goes: named phases, on whichever thread they pass, for the call's line in the log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["collected", "phase"]

_seconds_by_phase: ContextVar[dict[str, float] | None] = ContextVar("seconds_by_phase", default=None)


@contextmanager
def collected() -> Iterator[dict[str, float]]:
    """Collect the seconds of each phase of what is done inside, in the order in which they began."""
    seconds: dict[str, float] = {}
    token = _seconds_by_phase.set(seconds)
    try:
        yield seconds
    finally:
        _seconds_by_phase.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Add the time spent inside to a phase of the call under way, if one is."""
    seconds = _seconds_by_phase.get()
    if seconds is None:
        yield
        return
    seconds.setdefault(name, 0.0)
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - started
