"""Saying in the log that something long goes on, and how far it is where that is known."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .call_context import current
from .periodic_timer import periodically

__all__ = ["HowFar", "ProgressLog", "progress_logged"]

_EVERY_SECONDS = 10.0

# Gives the share that is done, 0 to 1; None where that is not known.
HowFar = Callable[[], float | None]

_log = logging.getLogger(__name__)


class ProgressLog:
    """How far something is, as it is told, or as ``how_far`` tells."""

    def __init__(self, what: str, how_far: HowFar | None) -> None:
        progress = current()
        self._what = what if progress is None else f"request {progress.request_id}: {what}"
        self._began = time.monotonic()
        self._share: float | None = None
        self._how_far = how_far or (lambda: self._share)

    def update(self, done: int, total: int) -> int:
        """Note what a librbd progress callback gives (``librbd_progress_fn_t``)."""
        if total:
            self._share = done / total
        return 0

    def say(self) -> None:
        share = self._how_far()
        far = "" if share is None else f", {share:.0%} done"
        _log.info("%s goes on after %.0f s%s", self._what, time.monotonic() - self._began, far)


@contextmanager
def progress_logged(what: str, how_far: HowFar | None = None) -> Iterator[ProgressLog]:
    """Say every ten seconds that it goes on."""
    beat = ProgressLog(what, how_far)
    with periodically(_EVERY_SECONDS, beat.say):
        yield beat
