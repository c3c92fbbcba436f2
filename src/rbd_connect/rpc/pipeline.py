"""The common way of every call, and the only way to the service: who calls, what is granted to him, errors as he may
see them, a line in the log, and one in the audit.

Transports are given this and nothing else of the service, so none can be without it. A call of which no transport said
who calls is refused.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from connectrpc.code import Code
from google.protobuf.message import Message

from rbd_connect.auth.grants import Granted
from rbd_connect.auth.identity import UnauthenticatedError
from rbd_connect.auth.policy import Policy
from rbd_connect.auth.redaction import without_hidden
from rbd_connect.common import logging as log
from rbd_connect.common.call_context import followed
from rbd_connect.model.errors import ServiceError

from . import deadline as rpc
from .audit import Audit
from .audit_records import record
from .call_log import Call, ended_line, in_flight_line, time_spent
from .caller import Caller, calling, current_caller
from .methods import STORAGE, Api, Method
from .resources import spec_of

__all__ = ["Pipeline"]

_log = logging.getLogger(__name__)

# The pause before the answer to an unauthenticated client, so that guessing credentials costs other clients less.
_UNAUTHENTICATED_PAUSE_SECONDS = 0.05
# The oldest of those in flight that are told of one by one.
_MOST_LISTED = 500

_Implementation = Callable[[Any, Granted], Awaitable[Message]]


class Pipeline:
    """A service with its methods under the names of generated code: ``await front.create_image(request, context)``.

    They raise Failure for whatever the service raises; what nobody foresaw is logged with its traceback.
    """

    def __init__(self, service: object, policy: Policy, audit: Audit) -> None:
        self._policy = policy
        self._audit = audit
        self._in_flight: dict[Call, None] = {}
        self._left: set[Call] = set()
        for method in STORAGE.methods:
            setattr(self, method.python_name, self._guarded(method, method.of(service)))

    @property
    def services(self) -> Mapping[Api, object]:
        """Give each API that is served, and what has its methods under the names of generated code."""
        return {STORAGE: self}

    async def admit(self, method: Method, caller: Caller) -> None:
        """Find out who makes the call that begins on this task. Raises ServiceError where that is not known in time."""
        try:
            async with asyncio.timeout_at(rpc.deadline()):
                identity = await self._policy.identity(caller.authorizations, caller.connection)
        except TimeoutError:
            raise rpc.not_started() from None
        except UnauthenticatedError as error:
            await self._not_admitted(method, caller, error)
            await rpc.pause(_UNAUTHENTICATED_PAUSE_SECONDS)
            raise
        try:
            place = self._policy.acquire(identity)
        except ServiceError as error:
            await self._not_admitted(method, caller.identified(identity), error)
            raise
        admitted = caller.identified(identity, place)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is a coroutine
        # Whatever becomes of the call: it may be refused before it comes to its method.
        task.add_done_callback(lambda _: place.release())
        calling(admitted)

    async def _not_admitted(self, method: Method, caller: Caller, error: ServiceError) -> None:
        if method.changes:
            line = record(
                caller,
                method.action,
                None,
                code=error.code.value,
                reason=error.reason,
                granted=None,
                duration_ms=round((time.monotonic() - caller.came) * 1000, 1),
                final=None,
            )
            self._audit.write(line)
            await self._settled()

    async def granted(self, caller: Caller, seconds: float) -> Granted | None:
        """Return what is granted to a client that calls no method; None if unauthenticated, or not known in time."""
        try:
            async with asyncio.timeout(seconds):
                identity = await self._policy.identity(caller.authorizations, caller.connection)
        except TimeoutError:
            return None
        except UnauthenticatedError as error:
            if caller.authorizations:
                _log.info("a probe names no scopes: %s", error.cause)
                await rpc.pause(_UNAUTHENTICATED_PAUSE_SECONDS)
            return None
        return self._policy.granted(identity)

    def _guarded(
        self, method: Method, implementation: _Implementation
    ) -> Callable[[Message, object], Awaitable[Message]]:
        async def answer(request: Message, _context: object) -> Message:
            caller = current_caller()
            if caller is None or caller.identity is None:
                raise rpc.Failure(UnauthenticatedError(), None, "")
            try:
                with followed(caller.request_id) as progress:
                    response = await self._answer(Call(method, caller, request, progress), implementation)
            except rpc.Failure:
                await self._settled()
                raise
            await self._settled()
            return response

        return answer

    async def _answer(self, call: Call, implementation: _Implementation) -> Message:
        self._in_flight[call] = None
        try:
            response = await _in_time(call, self._authorized(call, implementation))
            call.outcome = "ok"
        except ServiceError as error:
            call.error, call.outcome = error, error.code.value
            raise rpc.Failure(error, call.request, call.caller.request_id) from error
        except Exception as error:
            call.error, call.outcome = rpc.unforeseen(call.caller.request_id), Code.INTERNAL.value
            raise rpc.Failure(call.error, call.request, call.caller.request_id) from error
        finally:
            self._answered(call)
        return response

    async def _authorized(self, call: Call, implementation: _Implementation) -> Message:
        """Call the service where that is granted. Raises ServiceError."""
        spec = spec_of(call.request)
        identity = call.caller.identity
        assert identity is not None  # noqa: S101 - else it would not have come so far
        granted = self._policy.granted(identity)
        call.is_granted = False
        granted.check(call.method.action, spec)
        call.is_granted = True
        try:
            return await implementation(call.request, granted)
        except ServiceError as error:
            raise without_hidden(error, spec.scope, granted) from error

    def _answered(self, call: Call) -> None:
        """End a call for its caller, and altogether as soon as Ceph has done with it."""
        call.ended = time.monotonic()
        del self._in_flight[call]
        _log.info("%s", ended_line(call))
        task = call.progress.task
        if task is not None and not task.done():
            if call.caller.place is not None:
                call.caller.place.keep()
            self._left.add(call)
            task.add_done_callback(partial(self._over_at_last, call))
        else:
            # In one moment Ceph ends a call, and its deadline passes before it was told.
            self._over(call, task, _final(task) if task is not None and call.is_cut_off else None)

    async def _settled(self) -> None:
        """Answer when log and audit have their lines, as long as those who read them keep up."""
        await self._audit.settled()
        await log.settled()

    def log_in_flight(self) -> None:
        """Say in the log which calls are under way, the oldest first: what each is at, and for how long."""
        calls = sorted([*self._in_flight, *self._left], key=lambda call: call.caller.came)
        _log.info("in flight: %d calls, and %d that nobody waits for", len(self._in_flight), len(self._left))
        for call in calls[:_MOST_LISTED]:
            _log.info("in flight: %s", in_flight_line(call))
        if len(calls) > _MOST_LISTED:
            _log.info("in flight: and %d younger ones", len(calls) - _MOST_LISTED)

    def close(self) -> None:
        """Note in the audit what Ceph was still at, whose outcome nobody will know; and that is its end."""
        left, self._left = self._left, set()
        for call in left:
            task = call.progress.task
            self._over(call, task, _final(task) if task is not None and task.done() else "unknown")
        self._audit.close()

    def _over_at_last(self, call: Call, task: "asyncio.Task[Any]") -> None:
        if call in self._left:
            self._left.remove(call)
            self._over(call, task, _final(task))

    def _over(self, call: Call, task: "asyncio.Task[Any] | None", final: str | None) -> None:
        """End a call altogether. ``final`` is how, where its caller was not told."""
        if call.caller.place is not None:
            call.caller.place.release(at_last=True)
        if final is not None:
            after = time.monotonic() - (call.ended or call.arrived)
            _log.info(
                "request %s ended %.1f s after its caller had gone: %s (%s)",
                call.caller.request_id,
                after,
                final,
                time_spent(call),
            )
        if call.method.changes:
            line = record(
                call.caller,
                call.method.action,
                call.request,
                task,
                code=call.outcome,
                reason=call.error.reason if call.error else None,
                granted=call.is_granted,
                duration_ms=call.duration_ms,
                final=final,
            )
            self._audit.write(line)


async def _in_time(call: Call, answer: Awaitable[Message]) -> Message:
    """Raises ServiceError (deadline_exceeded) that says whether anything may have been done."""
    timer = asyncio.timeout_at(rpc.deadline())
    try:
        async with timer:
            return await answer
    except asyncio.CancelledError:
        call.is_cut_off = True
        raise
    except TimeoutError:
        if not timer.expired():
            raise
        call.is_cut_off = True
        raise (rpc.outcome_unknown() if call.progress.begun else rpc.not_started()) from None


def _final(task: "asyncio.Task[Any]") -> str:
    """Say how Ceph ended a call that its caller did not wait for."""
    if task.cancelled():
        return "canceled"
    error = task.exception()
    return "ok" if error is None else error.code.value if isinstance(error, ServiceError) else Code.INTERNAL.value
