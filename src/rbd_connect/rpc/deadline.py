"""What every call has, whatever carries it: a deadline, and, where it fails, a failure as its client may see it."""

import asyncio
import logging
from contextvars import ContextVar

from connectrpc.code import Code
from google.protobuf.message import Message

from rbd_connect.model.errors import ServiceError

from .error_details import error_details
from .error_size import fit
from .methods import name_of_call
from .retries import advice
from .unknown_fields import with_unknown_named

__all__ = ["Failure", "deadline", "not_started", "outcome_unknown", "pause", "refused", "set_deadline", "unforeseen"]

_log = logging.getLogger(__name__)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class Failure(Exception):  # noqa: N818 - the outcome of a call, for a transport to write; no defect
    """A call that failed: what a transport writes, each in its own way.

    ``call`` is the method's name, for a request that was not read (None).
    """

    def __init__(
        self, error: ServiceError, request: Message | None, request_id: str, *, call: str | None = None
    ) -> None:
        super().__init__(error.message)
        self.request_id = request_id
        self.code = error.code
        if request is not None:
            call = name_of_call(request)
            error = with_unknown_named(error, request)
        message = " ".join(filter(None, (error.message, advice(error, call))))
        self.message, self.details = fit(message, list(error_details(error, request, request_id, call)))


def refused(error: ServiceError, request_id: str, *, method: str | None = None) -> Failure:
    """Give the failure of a call that never came to its handler, and log it."""
    cause = f": {error.cause}" if error.cause else ""
    _log.info(
        "%s refused: %s (%s) request %s%s", method or "a request", error.reason, error.code.value, request_id, cause
    )
    return Failure(error, None, request_id, call=method)


def unforeseen(request_id: str) -> ServiceError:
    """Log the exception that is handled, which nobody foresaw, and give what is told of it."""
    _log.exception("request %s failed in a way that nobody foresaw", request_id)
    return ServiceError(
        Code.INTERNAL, "INTERNAL", f"The server failed; its log has more under the request id {request_id}."
    )


def set_deadline(seconds: float) -> None:
    """Say when the call that begins on this task is to be answered at the latest."""
    _deadline.set(asyncio.get_running_loop().time() + seconds)


def deadline() -> float | None:
    """Give the time of the event loop's clock by which the call on this task is to be answered."""
    return _deadline.get()


async def pause(seconds: float) -> None:
    """Wait for so long, and never for longer than the call has time."""
    latest = _deadline.get()
    remaining = seconds if latest is None else latest - asyncio.get_running_loop().time()
    await asyncio.sleep(min(seconds, remaining))


def not_started() -> ServiceError:
    return ServiceError(
        Code.DEADLINE_EXCEEDED,
        "NOT_STARTED",
        "The deadline passed before Ceph was asked for a change: nothing was done.",
    )


def outcome_unknown() -> ServiceError:
    return ServiceError(
        Code.DEADLINE_EXCEEDED,
        "OUTCOME_UNKNOWN",
        "The deadline passed while Ceph worked on the call. It may still be done.",
    )
