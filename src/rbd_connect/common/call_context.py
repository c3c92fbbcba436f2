"""What is known of the call under way, whatever thread it is on: whether Ceph was asked yet, and where time goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["CallContext", "Spent", "changes", "current", "followed", "phase"]


@dataclass(frozen=True, slots=True)
class Spent:
    """The seconds of each phase until now, in the order in which they began, and which one is under way, if any."""

    phases: dict[str, float]
    under_way: str | None


@dataclass(slots=True)
class CallContext:
    """``begun`` says whether Ceph was asked for a change, and ``changes`` whether it may have come to one.

    A moment counts for one phase: the innermost. ``shared`` is the progress of the work which the call shares with
    others. ``task`` is what Ceph was asked for, which runs on where nobody waits for it any more.
    """

    request_id: str
    begun: bool = False
    changes: bool = False
    phases: dict[str, float] = field(default_factory=dict)
    shared: "CallContext | None" = None
    task: "asyncio.Task[Any] | None" = None
    _under_way: list[str] = field(default_factory=list)
    _since: float = 0.0

    def spent(self) -> Spent:
        """Give what has been spent until now, of shared work too."""
        phases = dict(self.phases)
        under_way = next(reversed(self._under_way), None)
        if under_way is not None:
            phases[under_way] = phases.get(under_way, 0.0) + time.perf_counter() - self._since
        if self.shared is None:
            return Spent(phases, under_way)
        shared = self.shared.spent()
        return Spent(phases | shared.phases, shared.under_way or under_way)

    def add(self, spent: Spent) -> None:
        """Take what the worker says of its phases, which are others than those here."""
        self.phases.update(spent.phases)
        self._under_way = [] if spent.under_way is None else [spent.under_way]
        self._since = time.perf_counter()

    def begin(self, name: str) -> None:
        """Begin a phase within the one that is under way."""
        self._count()
        self.phases.setdefault(name, 0.0)
        self._under_way.append(name)

    def end(self) -> None:
        """End the phase that began last."""
        self._count()
        self._under_way.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._under_way:
            self.phases[self._under_way[-1]] += now - self._since
        self._since = now


_current: ContextVar[CallContext | None] = ContextVar("progress", default=None)


def current() -> CallContext | None:
    """Give the progress of the call under way, if one is followed."""
    return _current.get()


def changes() -> None:
    """Say that from here on the call under way may have changed something, however it ends."""
    progress = _current.get()
    if progress is not None:
        progress.changes = True


@contextmanager
def followed(request_id: str) -> Iterator[CallContext]:
    """Follow what is done inside, as one call."""
    progress = CallContext(request_id)
    token = _current.set(progress)
    try:
        yield progress
    finally:
        _current.reset(token)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count the time inside for a phase of the call under way, if one is, and for no other."""
    progress = _current.get()
    if progress is None:
        yield
        return
    progress.begin(name)
    try:
        yield
    finally:
        progress.end()
