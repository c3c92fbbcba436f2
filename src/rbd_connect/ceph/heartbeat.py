"""Saying in the log that something long goes on, and how far it is where librbd says so."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..progress import current

__all__ = ["Heartbeat", "heartbeat", "ticking"]

_EVERY_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Heartbeat:
    """How far something is, as librbd tells it while it calls back."""

    def __init__(self, what: str) -> None:
        progress = current()
        self._what = what if progress is None else f"request {progress.request_id}: {what}"
        self._began = time.monotonic()
        self._far = ""

    def update(self, done: int, total: int) -> int:
        """Note what a librbd progress callback gives (``librbd_progress_fn_t``)."""
        if total:
            self._far = f", {100 * done // total} % done"
        return 0

    def say(self, state: str) -> None:
        _log.info("%s %s after %.0f s%s", self._what, state, time.monotonic() - self._began, self._far)


@contextmanager
def heartbeat(what: str) -> Iterator[Heartbeat]:
    """Say every ten seconds that it goes on."""
    beat = Heartbeat(what)
    with ticking(_EVERY_SECONDS, lambda: beat.say("goes on")):
        yield beat


@contextmanager
def ticking(seconds: float, tick: Callable[[], object]) -> Iterator[None]:
    """Call something every so many seconds, on a thread of its own, which has ended at the end."""
    ended = threading.Event()

    def keep_ticking() -> None:
        while not ended.wait(seconds):
            tick()

    thread = threading.Thread(target=keep_ticking, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
