"""Something that is done every so often while something else goes on: all of it on one thread of the process."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

__all__ = ["periodically"]

_log = logging.getLogger(__name__)


@contextmanager
def periodically(seconds: float, tick: Callable[[], object]) -> Iterator[None]:
    """Call something every so many seconds. At the end it is under way no more.

    It must not take long: others wait for it.
    """
    repeated = _Repeated(seconds, tick)
    _clock.add(repeated)
    try:
        yield
    finally:
        repeated.end()
        _clock.remove(repeated)


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
    """The thread, which is started when it is needed, and when it calls what next.

    What ends before it is due wakes nobody: so it is with the lock of nearly every call.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[_Repeated, float] = {}
        self._wakes = inf
        self._thread: threading.Thread | None = None

    def add(self, repeated: _Repeated) -> None:
        due = time.monotonic() + repeated.seconds
        with self._changed:
            self._due[repeated] = due
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="periodically", daemon=True)
                self._thread.start()
            elif due < self._wakes:
                self._changed.notify()

    def remove(self, repeated: _Repeated) -> None:
        with self._changed:
            self._due.pop(repeated, None)

    def _run(self) -> None:
        while True:
            for repeated in self._next():
                if repeated.call():
                    self.add(repeated)

    def _next(self) -> list[_Repeated]:
        """Wait until something is due, and give all that is."""
        with self._changed:
            while True:
                now = time.monotonic()
                found = [repeated for repeated, due in self._due.items() if due <= now]
                for repeated in found:
                    del self._due[repeated]
                if found:
                    return found
                self._wakes = min(self._due.values(), default=inf)
                self._changed.wait(None if self._wakes == inf else self._wakes - now)


_clock = _Clock()
