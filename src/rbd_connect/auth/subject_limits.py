"""How much one subject may have at once: calls in flight, and calls begun in a second. For one event loop."""

import time
from dataclasses import dataclass

from connectrpc.code import Code

from rbd_connect.config.access import SubjectSettings
from rbd_connect.model.errors import RetryableError

__all__ = ["Admission", "SubjectLimits"]


@dataclass(slots=True)
class _Of:
    """A subject's calls in flight, and how many it could begin (a token bucket) when that was last reckoned."""

    in_flight: int
    left: float
    at: float


class Admission:
    """A call's place, which it has until it is over. Without anybody to count it for, it is nothing."""

    __slots__ = ("_is_kept", "_of")

    def __init__(self, of: _Of | None = None) -> None:
        self._of = of
        self._is_kept = False

    def keep(self) -> None:
        """Have it given back ``at_last`` only: Ceph is at the call still, though its caller has gone."""
        self._is_kept = True

    def release(self, *, at_last: bool = False) -> None:
        """Give it back, once."""
        if self._of is not None and (at_last or not self._is_kept):
            self._of.in_flight -= 1
            self._of = None


class SubjectLimits:
    """The places of all subjects. Of one that has been still for a second, nothing is kept."""

    def __init__(self, settings: SubjectSettings) -> None:
        self._settings = settings
        self._of: dict[str, _Of] = {}

    def change(self, settings: SubjectSettings) -> None:
        """Put other limits in force. Calls in flight still count; another rate begins with nothing used of it."""
        if settings.rate != self._settings.rate:
            now = time.monotonic()
            for of in self._of.values():
                of.left, of.at = settings.rate, now
        self._settings = settings

    def acquire(self, subject: str) -> Admission:
        """Take a place, and count the call in any case.

        Raises RetryableError (resource_exhausted) where the subject has all of its own.
        """
        rate = self._settings.rate
        now = time.monotonic()
        of = self._of.get(subject)
        if of is None:
            self._forget(now)
            of = self._of[subject] = _Of(0, rate, now)
        of.left = min(float(rate), of.left + (now - of.at) * rate)
        of.at = now
        if rate and of.left < 1:
            raise RetryableError(
                Code.RESOURCE_EXHAUSTED,
                "SUBJECT_RATE",
                f"You may begin {rate} calls a second.",
                seconds=(1 - of.left) / rate,
            )
        if rate:
            of.left -= 1
        if of.in_flight >= self._settings.in_flight:
            raise RetryableError(
                Code.RESOURCE_EXHAUSTED,
                "SUBJECT_BUSY",
                f"You have {of.in_flight} calls in flight, which is all that you may.",
            )
        of.in_flight += 1
        return Admission(of)

    def _forget(self, now: float) -> None:
        """Forget those of whom nothing need be known: their places are all free, and their second is over."""
        for subject in [one for one, of in self._of.items() if not of.in_flight and now - of.at > 1]:
            del self._of[subject]
