"""One question for all threads that ask it at the same time."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

_T = TypeVar("_T")


class SingleFlight(Generic[_T]):
    """Asks a question once at a time. Callers that come while it is being asked share the next answer.

    So each answer was asked for after its caller had come: it is never older than the call that uses it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._started = 0
        self._ended = 0
        self._waiting = 0
        self._answer: _T
        self._error: Exception | None = None

    @property
    def waiting(self) -> int:
        """How many callers wait for a question that others ask."""
        return self._waiting

    def ask(self, question: Callable[[], _T]) -> _T:
        """Return the answer to a question that is asked after this call. Raises what the question raises."""
        with self._changed:
            wanted = self._started + 1
            self._waiting += 1
            self._changed.wait_for(lambda: self._started == self._ended or self._ended >= wanted)
            self._waiting -= 1
            if self._ended >= wanted:
                return self._result()
            self._started += 1
        try:
            answer, error = question(), None
        except Exception as raised:  # noqa: BLE001 - each caller that waits gets it
            error = raised
        with self._changed:
            if error is None:
                self._answer = answer
            self._error = error
            self._ended += 1
            self._changed.notify_all()
            return self._result()

    def _result(self) -> _T:
        if self._error is not None:
            raise self._error.with_traceback(None)  # without the frames that it passed for others
        return self._answer
