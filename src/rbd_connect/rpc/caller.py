"""The caller of the call under way, as its transport has it: set by the transport, read on the common way."""

import re
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from uuid import uuid4

from rbd_connect.auth.authentication import PeerConnection
from rbd_connect.auth.identity import Identity
from rbd_connect.auth.subject_limits import Admission

__all__ = ["REQUEST_ID_HEADER", "Caller", "calling", "current_caller", "request_id_of"]

REQUEST_ID_HEADER = "x-request-id"

# The second form is HAProxy's, which is 94 characters long for two addresses of IPv6:
# https://docs.haproxy.org/2.6/configuration.html#4.2-unique-id-format
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}|[0-9A-F_:]{1,96}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, from where, by what. ``identity`` and ``place`` are None until it is known; ``peer`` is host:port.

    ``came`` is when the call came, and ``admitted`` when it was known who makes it, by time.monotonic().
    """

    request_id: str
    transport: str
    peer: str
    connection: PeerConnection
    authorizations: Sequence[str]
    identity: Identity | None = None
    place: Admission | None = None
    came: float = field(default_factory=time.monotonic)
    admitted: float | None = None

    def identified(self, identity: Identity, place: Admission | None = None) -> "Caller":
        """Give the caller with what was proved, and its place; what it was proved by is kept no longer."""
        return replace(self, identity=identity, place=place, authorizations=(), admitted=time.monotonic())


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def calling(caller: Caller) -> None:
    """Say who calls, for the task that the call begins on."""
    _caller.set(caller)


def current_caller() -> Caller | None:
    """Give the caller of the call under way; None where no transport said who it is."""
    return _caller.get()


def request_id_of(given: Sequence[str]) -> str:
    """Give the caller's own request id, where there is one that is well formed. Else one is made.

    It has up to 64 letters, digits, and ``. _ : -``.
    """
    if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
        return given[0]
    return uuid4().hex
