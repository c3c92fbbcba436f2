"""A clock for patience: it counts only the time in which its owner looked.

A process that was stopped, a machine that was paused or moved, a processor that others had: none of that is a silence
of Ceph's. What was answered meanwhile waits to be taken up, and must not be given up before.
"""

import time

__all__ = ["AttendedTime"]


class AttendedTime:
    """Seconds that begin with 0. Between two looks no more than ``longest_step`` seconds go by."""

    def __init__(self, longest_step: float) -> None:
        self._longest_step = longest_step
        self._looked = time.monotonic()
        self.now = 0.0

    def look(self) -> float:
        """Let the time go on, and say what it is."""
        looked = time.monotonic()
        self.now += min(looked - self._looked, self._longest_step)
        self._looked = looked
        return self.now
