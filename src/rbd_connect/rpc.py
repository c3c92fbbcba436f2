"""The common way of every call, whatever carries it: request id, a line in the log, errors as a client may see them."""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TypeVar

from connectrpc.code import Code
from google.protobuf.message import Message

from .details import error_details
from .errors import ServiceError
from .progress import Progress, followed

__all__ = [
    "REQUEST_ID_HEADER",
    "Failure",
    "answer",
    "deadline",
    "new_request_id",
    "not_started",
    "refused",
    "set_deadline",
]

REQUEST_ID_HEADER = "x-request-id"

_log = logging.getLogger(__name__)
_Response = TypeVar("_Response")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class Failure(Exception):  # noqa: N818 - the outcome of a call, for a transport to write; no defect
    """A call that failed: what a transport writes, each in its own way."""

    def __init__(self, error: ServiceError, request: Message | None, request_id: str) -> None:
        super().__init__(error.message)
        self.request_id = request_id
        self.code = error.code
        self.message = error.message
        self.details = list(error_details(error, request, request_id))


def new_request_id() -> str:
    return uuid.uuid4().hex


def refused(error: ServiceError, request_id: str, *, method: str | None = None) -> Failure:
    """Give the failure of a call that never came to its handler, and log it."""
    _log.info("%s refused: %s (%s) request %s", method or "a request", error.reason, error.code.value, request_id)
    return Failure(error, None, request_id)


def set_deadline(seconds: float) -> None:
    """Say when the call that begins on this task is to be answered at the latest."""
    _deadline.set(asyncio.get_running_loop().time() + seconds)


def deadline() -> float | None:
    """Give the time of the event loop's clock by which the call on this task is to be answered."""
    return _deadline.get()


async def answer(
    handler: Callable[[], Awaitable[_Response]], *, method: str, request: Message, request_id: str
) -> _Response:
    """Call a handler of ``request``, and give it up when the deadline passes.

    Raises Failure for whatever it raises; what nobody foresaw is logged with its traceback under the request id.
    """
    started = time.monotonic()
    outcome = "canceled"
    with followed(request_id) as progress:
        try:
            response = await _in_time(handler, progress)
            outcome = "ok"
        except ServiceError as error:
            outcome = error.code.value
            raise Failure(error, request, request_id) from error
        except Exception as error:
            outcome = Code.INTERNAL.value
            _log.exception("request %s failed in a way that nobody foresaw", request_id)
            raise Failure(_unforeseen(request_id), request, request_id) from error
        finally:
            _log_call(f"{method} {outcome}", time.monotonic() - started, progress.phases, request, request_id)
        return response


async def _in_time(handler: Callable[[], Awaitable[_Response]], progress: Progress) -> _Response:
    """Raises ServiceError (deadline_exceeded) that says whether anything may have been done."""
    timer = asyncio.timeout_at(deadline())
    try:
        async with timer:
            return await handler()
    except TimeoutError:
        if not timer.expired():
            raise
        raise (outcome_unknown() if progress.begun else not_started()) from None


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
        "The deadline passed while Ceph was at it. It may be done yet; a retry is safe, and tells.",
    )


def _unforeseen(request_id: str) -> ServiceError:
    return ServiceError(
        Code.INTERNAL, "INTERNAL", f"The server failed; its log has more under the request id {request_id}."
    )


def _log_call(outcome: str, seconds: float, phases: Mapping[str, float], request: Message, request_id: str) -> None:
    # Names are quoted as JSON: no caller can break a line.
    fields = json.dumps({descriptor.name: value for descriptor, value in request.ListFields()}, default=str)
    spent = ", ".join(f"{name} {of_phase * 1000:.1f}" for name, of_phase in phases.items())
    _log.info("%s in %.1f ms (%s) request %s %s", outcome, seconds * 1000, spent, request_id, fields)
