"""Reading many directories side by side without a thread for any: one that is not answered costs the others nothing."""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import rados

from rbd_connect.ceph.objects.directory import Names, NamesRead

from .attended_time import AttendedTime
from .unanswered import Unanswered

if TYPE_CHECKING:
    from queue import SimpleQueue

__all__ = ["NameReads", "NoAnswerError"]

_PATIENCE_SECONDS = 5.0  # for each page
_PATIENCE_WITH_THE_LATE_SECONDS = 1.0  # where an earlier question is open still
# librados begins 1,024 operations without waiting, for all that a process does (objecter_inflight_ops).
_MOST_AT_ONCE = 128
_MOST_OPEN = 384
_MOST_OPEN_OF_ONE = 4

_QUESTIONS = "questions for names"

# An OSD's answer, or that there was none.
Then = Callable[[Names | Exception], None]


class NoAnswerError(Exception):
    """Ceph did not answer. Its text says for how long, or why nothing was asked."""


@dataclass(slots=True, eq=False)
class _Reading:
    key: Hashable
    begin: Callable[[Callable[[NamesRead], None]], NamesRead]
    then: Then
    read: NamesRead = field(init=False)
    patience: float = _PATIENCE_SECONDS
    until: float = 0.0


class NameReads:
    """Directories that are read. Its methods are for one thread, which also calls what comes into ``events``."""

    def __init__(self, events: "SimpleQueue[Callable[[], None]]", unanswered: Unanswered, time: AttendedTime) -> None:
        self._events = events
        self._unanswered = unanswered
        self._time = time
        self._waiting: deque[_Reading] = deque()
        self._asked: dict[_Reading, None] = {}

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._asked

    def read(self, key: Hashable, begin: Callable[[Callable[[NamesRead], None]], NamesRead], then: Then) -> None:
        """Read a directory, and give its names, or why they are not known.

        ``begin`` is given what the read is to call when it is answered. ``key`` tells directories apart, also for later
        lists.
        """
        self._waiting.append(_Reading(key, begin, then))

    def go_on(self) -> None:
        """Begin what waits, and give up what was not answered for too long."""
        now = self._time.look()
        for reading in [reading for reading in self._asked if reading.until <= now]:
            del self._asked[reading]
            reading.then(NoAnswerError(f"Ceph has not answered for {reading.patience:.0f} s"))
        while self._waiting and len(self._asked) < _MOST_AT_ONCE:
            self._begin(self._waiting.popleft())

    def fail(self, error: Exception) -> None:
        """End all with an error."""
        readings = [*self._asked, *self._waiting]
        self._asked.clear()
        self._waiting.clear()
        for reading in readings:
            reading.then(error)

    def _begin(self, reading: _Reading) -> None:
        open_already = self._unanswered.of(reading.key)
        if open_already >= _MOST_OPEN_OF_ONE or self._unanswered.of(_QUESTIONS) >= _MOST_OPEN:
            reading.then(NoAnswerError("Ceph has not answered earlier questions yet"))
            return
        if open_already:
            reading.patience = _PATIENCE_WITH_THE_LATE_SECONDS
        reading.read = reading.begin(partial(self._hear, reading))
        self._ask(reading)

    def _hear(self, reading: _Reading, _read: NamesRead) -> None:
        """Take note, on a thread of librados, that an answer has come."""
        self._unanswered.remove(_QUESTIONS, reading.key)
        self._events.put(partial(self._answered, reading))

    def _answered(self, reading: _Reading) -> None:
        if reading in self._asked:
            del self._asked[reading]
            self._ask(reading)

    def _ask(self, reading: _Reading) -> None:
        self._unanswered.add(_QUESTIONS, reading.key)
        self._asked[reading] = None
        reading.until = self._time.now + reading.patience
        outcome: Names | Exception | None
        try:
            outcome = reading.read.go_on()
        except rados.Error as error:
            outcome = error
        if outcome is not None:
            self._unanswered.remove(_QUESTIONS, reading.key)
            del self._asked[reading]
            reading.then(outcome)
