"""Calls during which a worker process crashed: the same call is made in a process of its own, or refused for a while.

A crash takes every call of its process along, and one of them may be the cause. Where it was the only one, it is taken
for the cause. Where there were several, each is a suspect: it may be tried again, alone. Then it ends, and is one no
longer, or it crashes by itself, and is found.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from signal import Signals

from rbd_connect.model.errors import PreconditionError

__all__ = ["REFUSED_SECONDS", "REFUSED_SECONDS_OF_LISTS", "CallKey", "Quarantine"]

# The cause of such a crash is a state of the cluster or a defect of its library: neither is gone in a moment.
REFUSED_SECONDS = 600.0
# A list has no image that could be left out, and everybody needs it. It crashes alone, so it may be tried more often.
REFUSED_SECONDS_OF_LISTS = 30.0

_MOST_KEYS = 1000


@dataclass(frozen=True, slots=True)
class CallKey:
    """What makes two calls the same: the operation and the image. ``image`` is None for what concerns no single one."""

    operation: str
    image: Hashable | None

    def __str__(self) -> str:
        """Name it for the log: quoted, so that no name can break a line."""
        return self.operation if self.image is None else f"{self.operation} on {json.dumps(self.image, default=str)}"


@dataclass(frozen=True, slots=True)
class _Crash:
    """When the same call is accepted again, on the clock; which signal ended the process, and when, in UTC."""

    until: float
    signal: Signals
    at: datetime


class Quarantine:
    """The calls of one scope that are suspects or were found. At most ``most`` are remembered: the latest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = _MOST_KEYS) -> None:
        self._clock = clock
        self._most = most
        self._crashes: OrderedDict[CallKey, _Crash | None] = OrderedDict()

    def check(self, key: CallKey) -> None:
        """Raise PreconditionError (REFUSED_AFTER_CRASH) where the same call crashed a process lately."""
        crash = self._crashes.get(key)
        if crash is None:
            return
        remaining = crash.until - self._clock()
        if remaining > 0:
            raise PreconditionError(
                "REFUSED_AFTER_CRASH",
                f"Nothing was done. The same call{_on(key)} crashed Ceph's library ({crash.signal.name}) at "
                f"{_time(crash.at)} UTC; it is accepted again in {remaining:.0f} s. {_advice(key)}",
            )

    def is_suspect(self, key: CallKey) -> bool:
        """Say whether the call must be made alone: it was in a process that crashed, and has not ended since."""
        return key in self._crashes

    def suspect(self, key: CallKey) -> None:
        """Note that a process crashed during this call and others."""
        if self._crashes.get(key) is None:
            self._note(key, None)

    def found(self, key: CallKey, signal: Signals) -> PreconditionError:
        """Note that a process crashed during this call alone. Give what its caller is told (WORKER_CRASHED)."""
        seconds = REFUSED_SECONDS_OF_LISTS if key.image is None else REFUSED_SECONDS
        now = datetime.now(UTC)
        self._note(key, _Crash(self._clock() + seconds, signal, now))
        return PreconditionError(
            "WORKER_CRASHED",
            f"Ceph's library crashed ({signal.name}) during this call, which may be done by halves. "
            f"The same call{_on(key)} is refused until {_time(now + timedelta(seconds=seconds))} UTC. {_advice(key)}",
        )

    def clear(self, key: CallKey) -> None:
        """Note that the call ended without a crash, alone."""
        self._crashes.pop(key, None)

    def _note(self, key: CallKey, crash: _Crash | None) -> None:
        self._crashes[key] = crash
        self._crashes.move_to_end(key)
        while len(self._crashes) > self._most:
            self._crashes.popitem(last=False)


def _on(key: CallKey) -> str:
    return "" if key.image is None else " on this image"


def _advice(key: CallKey) -> str:
    look = "" if key.image is None else "`rbd info` of the image, and "
    return f"Look at {look}`ceph health detail`; the server's log has the crash as an ERROR."


def _time(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"
