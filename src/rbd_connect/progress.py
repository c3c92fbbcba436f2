"""What is known of the call under way, whatever thread it is on: whether Ceph was asked yet, and where time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["Progress", "changes", "current", "followed", "phase"]


@dataclass(slots=True)
class Progress:
    """``begun`` says whether Ceph was asked for a change, and ``changes`` whether it may have come to one.

    ``phases`` has seconds, in the order in which they began; those under way count when they have ended. ``shared`` is
    that of the work which the call shares with others. ``task`` is what Ceph was asked for, which runs on where nobody
    waits for it any more.
    """

    request_id: str
    begun: bool = False
    changes: bool = False
    phases: dict[str, float] = field(default_factory=dict)
    under_way: dict[str, float] = field(default_factory=dict)
    shared: "Progress | None" = None
    task: "asyncio.Task[Any] | None" = None

    def spent(self) -> dict[str, float]:
        """Give the seconds of each phase until now, of shared work too."""
        now = time.perf_counter()
        spent = dict(self.phases)
        for name, began in dict(self.under_way).items():
            spent[name] = spent.get(name, 0.0) + now - began
        return spent if self.shared is None else spent | self.shared.spent()


_current: ContextVar[Progress | None] = ContextVar("progress", default=None)


def current() -> Progress | None:
    """Give the progress of the call under way, if one is followed."""
    return _current.get()


def changes() -> None:
    """Say that from here on the call under way may have changed something, however it ends."""
    progress = _current.get()
    if progress is not None:
        progress.changes = True


@contextmanager
def followed(request_id: str) -> Iterator[Progress]:
    """Follow what is done inside, as one call."""
    progress = Progress(request_id)
    token = _current.set(progress)
    try:
        yield progress
    finally:
        _current.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Add the time spent inside to a phase of the call under way, if one is."""
    progress = _current.get()
    if progress is None:
        yield
        return
    progress.phases.setdefault(name, 0.0)
    progress.under_way[name] = started = time.perf_counter()
    try:
        yield
    finally:
        progress.under_way.pop(name, None)
        progress.phases[name] += time.perf_counter() - started
