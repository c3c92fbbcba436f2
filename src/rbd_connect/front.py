"""The common way of every call, and the only way to the service: who calls, what is granted to him, errors as he may
see them, a line in the log, and one in the audit.

Transports are given this and nothing else of the service, so none can be without it. A call of which no transport said
who calls is refused.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from connectrpc.code import Code
from google.protobuf.message import Message

from . import rpc
from .access.grants import Granted
from .access.hiding import without_hidden
from .access.identity import UnauthenticatedError
from .access.policy import Policy
from .audit import Audit
from .caller import Caller, calling, current_caller
from .errors import ServiceError
from .procedures import PROCEDURES, Procedure
from .progress import Progress, followed
from .records import record
from .requests import spec_of

__all__ = ["Front"]

_log = logging.getLogger(__name__)

# So long a stranger waits for his answer: who tries one credential after the other takes the less from others.
_STRANGERS_SECONDS = 0.05

Method = Callable[[Any, Granted], Awaitable[Message]]


@dataclass(slots=True)
class _Call:
    """A call on its way, and how it ended for its caller."""

    procedure: Procedure
    caller: Caller
    request: Message
    has_place: bool = False
    error: ServiceError | None = None
    outcome: str = "canceled"
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0


class Front:
    """A service with its procedures under the names of generated code: ``await front.create_image(request, context)``.

    They raise Failure for whatever the service raises; what nobody foresaw is logged with its traceback.
    """

    def __init__(self, service: object, policy: Policy, audit: Audit) -> None:
        self._policy = policy
        self._audit = audit
        self._left: dict[asyncio.Task[Any], _Call] = {}
        for procedure in PROCEDURES:
            setattr(self, procedure.python_name, self._guarded(procedure, procedure.of(service)))

    async def admit(self, procedure: Procedure, caller: Caller) -> None:
        """Find out who makes the call that begins on this task. Raises ServiceError where that is not known in time."""
        began = time.monotonic()
        try:
            async with asyncio.timeout_at(rpc.deadline()):
                identity = await self._policy.identity(caller.authorizations, caller.door)
        except TimeoutError:
            raise rpc.not_started() from None
        except UnauthenticatedError as error:
            if procedure.changes:
                self._audit.write(
                    record(
                        caller,
                        procedure.action,
                        None,
                        code=error.code.value,
                        reason=error.reason,
                        duration_ms=_milliseconds(began, time.monotonic()),
                        final=None,
                    )
                )
            await rpc.pause(_STRANGERS_SECONDS)
            raise
        calling(caller.identified(identity))

    async def granted(self, caller: Caller, seconds: float) -> Granted | None:
        """Say what is granted to who asks for no procedure; nothing to a stranger, or where it is not known in time."""
        try:
            async with asyncio.timeout(seconds):
                identity = await self._policy.identity(caller.authorizations, caller.door)
        except TimeoutError:
            return None
        except UnauthenticatedError:
            if caller.authorizations:
                await rpc.pause(_STRANGERS_SECONDS)
            return None
        return self._policy.granted(identity)

    def _guarded(self, procedure: Procedure, method: Method) -> Callable[[Message, object], Awaitable[Message]]:
        async def answer(request: Message, _context: object) -> Message:
            caller = current_caller()
            if caller is None or caller.identity is None:
                raise rpc.Failure(UnauthenticatedError(), None, "")
            return await self._answer(_Call(procedure, caller, request), method)

        return answer

    async def _answer(self, call: _Call, method: Method) -> Message:
        with followed(call.caller.request_id) as progress:
            try:
                response = await _in_time(self._permitted(call, method), progress)
                call.outcome = "ok"
            except ServiceError as error:
                call.error, call.outcome = error, error.code.value
                raise rpc.Failure(error, call.request, call.caller.request_id) from error
            except Exception as error:
                _log.exception("request %s failed in a way that nobody foresaw", call.caller.request_id)
                call.error, call.outcome = _unforeseen(call.caller.request_id), Code.INTERNAL.value
                raise rpc.Failure(call.error, call.request, call.caller.request_id) from error
            finally:
                self._answered(call, progress)
            return response

    async def _permitted(self, call: _Call, method: Method) -> Message:
        """Call the service where that is granted, and the caller has a place. Raises ServiceError."""
        spec = spec_of(call.request)
        identity = call.caller.identity
        assert identity is not None  # noqa: S101 - else it would not have come so far
        granted = self._policy.granted(identity)
        granted.check(call.procedure.action, spec)
        self._policy.take_place(identity)
        call.has_place = True
        try:
            return await method(call.request, granted)
        except ServiceError as error:
            raise without_hidden(error, spec.scope, granted) from error

    def _answered(self, call: _Call, progress: Progress) -> None:
        """End a call for its caller, and altogether as soon as Ceph has done with it."""
        call.ended = time.monotonic()
        _log_call(call, progress)
        task = progress.task
        if task is None or task.done():
            self._over(call, task, None)
        else:
            self._left[task] = call
            task.add_done_callback(self._over_at_last)

    def close(self) -> None:
        """Note in the audit what Ceph was still at, whose outcome nobody will know; and that is its end."""
        for task, call in list(self._left.items()):
            task.remove_done_callback(self._over_at_last)
            self._over(call, None, "unknown")
        self._audit.close()

    def _over_at_last(self, task: "asyncio.Task[Any]") -> None:
        self._over(self._left.pop(task), task, _final(task))

    def _over(self, call: _Call, task: "asyncio.Task[Any] | None", final: str | None) -> None:
        """End a call altogether. ``final`` is how, where its caller was not told."""
        identity = call.caller.identity
        if call.has_place and identity is not None:
            self._policy.give_back_place(identity)
        if final is not None:
            after = time.monotonic() - call.ended
            _log.info("request %s ended %.1f s after its caller had gone: %s", call.caller.request_id, after, final)
        if call.procedure.changes:
            line = record(
                call.caller,
                call.procedure.action,
                call.request,
                task,
                code=call.outcome,
                reason=call.error.reason if call.error else None,
                duration_ms=_milliseconds(call.started, call.ended),
                final=final,
            )
            self._audit.write(line)


async def _in_time(answer: Awaitable[Message], progress: Progress) -> Message:
    """Raises ServiceError (deadline_exceeded) that says whether anything may have been done."""
    timer = asyncio.timeout_at(rpc.deadline())
    try:
        async with timer:
            return await answer
    except TimeoutError:
        if not timer.expired():
            raise
        raise (rpc.outcome_unknown() if progress.begun else rpc.not_started()) from None


def _unforeseen(request_id: str) -> ServiceError:
    return ServiceError(
        Code.INTERNAL, "INTERNAL", f"The server failed; its log has more under the request id {request_id}."
    )


def _milliseconds(began: float, ended: float) -> float:
    return round((ended - began) * 1000, 1)


def _final(task: "asyncio.Task[Any]") -> str:
    """Say how Ceph ended a call that its caller did not wait for."""
    if task.cancelled():
        return "canceled"
    error = task.exception()
    return "ok" if error is None else error.code.value if isinstance(error, ServiceError) else Code.INTERNAL.value


def _log_call(call: _Call, progress: Progress) -> None:
    # Names are quoted as JSON: no caller can break a line.
    fields = json.dumps({descriptor.name: value for descriptor, value in call.request.ListFields()}, default=str)
    spent = ", ".join(f"{name} {seconds * 1000:.1f}" for name, seconds in progress.phases.items())
    by = json.dumps(call.caller.identity.subject if call.caller.identity else None)
    _log.info(
        "%s %s in %.1f ms (%s) request %s by %s %s",
        call.procedure.name,
        call.outcome,
        (call.ended - call.started) * 1000,
        spent,
        call.caller.request_id,
        by,
        fields,
    )
