"""What the log says of a call: what it was, how it ended, and where its time went."""

import json
import time
from dataclasses import dataclass, field

from google.protobuf.message import Message

from rbd_connect.common import logging as log
from rbd_connect.common.call_context import CallContext
from rbd_connect.model.errors import ServiceError

from .caller import Caller
from .methods import Method

__all__ = ["Call", "ended_line", "in_flight_line", "time_spent"]

# No name that may be one is longer.
_MOST_OF_FIELD = 255
# These are told of only where they took time: less is printed as 0.0.
_USUALLY_NOTHING = frozenset({"authenticate", "read", "wait", "other"})
_LEAST_SECONDS = 0.00005


@dataclass(slots=True, eq=False)
class Call:
    """A call on its way, and how it ended for its caller. Times are time.monotonic()'s.

    ``is_granted`` is None until that is known. ``is_cut_off`` says whether the deadline passed, or its caller went: how
    Ceph ended it, he was not told.
    """

    method: Method
    caller: Caller
    request: Message
    progress: CallContext
    error: ServiceError | None = None
    outcome: str = "canceled"
    is_granted: bool | None = None
    is_cut_off: bool = False
    arrived: float = field(default_factory=time.monotonic)
    ended: float | None = None

    @property
    def duration_ms(self) -> float:
        """The milliseconds from when it came until it was answered."""
        return round(((self.ended or time.monotonic()) - self.caller.came) * 1000, 1)


def ended_line(call: Call) -> str:
    """Say how a call ended for its caller."""
    reason = f" {call.error.reason}" if call.error else ""
    hidden = " (not granted)" if call.is_granted is False else ""
    return (
        f"{call.method.name} {call.outcome}{reason}{hidden} in {call.duration_ms:.1f} ms "
        f"({time_spent(call, call.ended)}) {_whose(call)}"
    )


def in_flight_line(call: Call) -> str:
    """Say how long a call has been under way, and what it is at."""
    under_way = call.progress.spent().under_way
    at = "in the server" if under_way is None else f"at {under_way}"
    left = "" if call.ended is None else f", which its caller has not waited for ({call.outcome})"
    age = time.monotonic() - call.caller.came
    return f"{call.method.name} for {age:.1f} s {at} ({time_spent(call)}){left} {_whose(call)}"


def time_spent(call: Call, until: float | None = None) -> str:
    """Give the milliseconds of each part of a call's time, which add up to all of it, until now or some moment."""
    spent = call.progress.spent().phases
    whole = (until or time.monotonic()) - call.caller.came
    admitted = call.caller.admitted or call.caller.came
    parts = {"authenticate": admitted - call.caller.came, "read": call.arrived - admitted, **spent}
    parts["other"] = whole - sum(parts.values())
    return ", ".join(
        f"{name} {seconds * 1000:.1f}"
        for name, seconds in parts.items()
        if seconds >= _LEAST_SECONDS or name not in _USUALLY_NOTHING
    )


def _whose(call: Call) -> str:
    values = {
        descriptor.name: log.shortened(value, _MOST_OF_FIELD) if isinstance(value, str) else value
        for descriptor, value in call.request.ListFields()
    }
    by = json.dumps(call.caller.identity.subject if call.caller.identity else None)
    return f"request {call.caller.request_id} by {by} {json.dumps(values, default=str)}"
