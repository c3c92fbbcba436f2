"""Tracebacks of errors that were answered: dropped, so that a failed call leaves nothing for the garbage collector.

connectrpc's frames keep the error that they caught, whose traceback keeps the frames, and with them the call's message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["dropped", "note"]

_noted: ContextVar[list[BaseException] | None] = ContextVar("noted", default=None)


@contextmanager
def dropped() -> Iterator[None]:
    """Drop, at the end, the tracebacks of the errors that were noted inside."""
    errors: list[BaseException] = []
    token = _noted.set(errors)
    try:
        yield
    finally:
        _noted.reset(token)
        for error in errors:
            error.__traceback__ = None


def note(error: BaseException) -> None:
    """Say that an error will have been answered at the end of the call."""
    errors = _noted.get()
    if errors is not None:
        errors.append(error)
