"""Something that is done every so often while something else goes on: all of it on one thread of the process."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count

__all__ = ["ticking"]

_log = logging.getLogger(__name__)


@contextmanager
def ticking(seconds: float, tick: Callable[[], object]) -> Iterator[None]:
    """Call something every so many seconds. At the end it is under way no more.

    It must not take long: others wait for it.
    """
    repeated = _Repeated(seconds, tick)
    _clock.add(repeated)
    try:
        yield
    finally:
        repeated.end()


class _Repeated:
    """What is called, until it is ended."""

    def __init__(self, seconds: float, tick: Callable[[], object]) -> None:
        self.seconds = seconds
        self._tick: Callable[[], object] | None = tick
        self._calling = threading.Lock()

    def call(self) -> bool:
        """Call it, and say whether it is to be called again."""
        with self._calling:
            if self._tick is None:
                return False
            try:
                self._tick()
            except Exception:  # noqa: BLE001 - whatever it is, the others go on
                _log.exception("what is done every %g s failed", self.seconds)
            return True

    def end(self) -> None:
        with self._calling:
            self._tick = None


class _Clock:
    """The thread, which is started when it is needed, and what it calls next."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, _Repeated]] = []
        self._numbers = count()
        self._thread: threading.Thread | None = None

    def add(self, repeated: _Repeated) -> None:
        due = (time.monotonic() + repeated.seconds, next(self._numbers), repeated)
        with self._changed:
            heappush(self._due, due)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ticking", daemon=True)
                self._thread.start()
            elif self._due[0] is due:  # else it wakes soon enough
                self._changed.notify()

    def _run(self) -> None:
        while True:
            repeated = self._next()
            if repeated.call():
                self.add(repeated)

    def _next(self) -> _Repeated:
        """Wait for what is due next."""
        with self._changed:
            while not self._due or self._due[0][0] > time.monotonic():
                self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
            _, _, repeated = heappop(self._due)
            return repeated


_clock = _Clock()
