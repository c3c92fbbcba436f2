"""Threads for calls that block: made as they are needed, used again, and let go when fewer are needed."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Threads"]


class Threads:
    """At most ``most`` threads, which nobody waits for. Whether all are needed is looked at each ``period`` seconds."""

    def __init__(self, most: int, period: float) -> None:
        self._most = most
        self._period = period
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._running = 0
        self._made = 0  # by this executor, which makes one where none is idle
        self._needed = 0  # in this period
        self._period_began = time.monotonic()

    @property
    def running(self) -> int:
        """How many functions have not ended."""
        return self._running

    def start(self, function: Callable[[], object]) -> None:
        """Run a function, which raises nothing, on a thread."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._most)
        with self._lock:
            self._running += 1
            self._needed = max(self._needed, self._running)
            self._made = max(self._made, self._running)
        self._executor.submit(self._run, function)

    def review(self) -> None:
        """Call this at least each period. Lets threads go where less than half were needed; each ends when idle."""
        if time.monotonic() - self._period_began < self._period:
            return
        with self._lock:
            too_many = 2 * self._needed < self._made
            self._needed = self._running
        if self._executor is not None and too_many:
            self._executor.shutdown(wait=False)
            self._executor = None
            self._made = 0
        self._period_began = time.monotonic()

    def _run(self, function: Callable[[], object]) -> None:
        try:
            function()
        finally:
            with self._lock:
                self._running -= 1
