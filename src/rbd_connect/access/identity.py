"""Who calls, as far as it was proved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectrpc.code import Code

from ..errors import ServiceError

__all__ = ["ANYBODY", "Identity", "NotBelievedError", "UnauthenticatedError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller. ``subject`` is a token's, or ``issuer:`` and what the JWT names.

    ``credential`` says by what it was proved, and is no secret. ``claims`` are a JWT's.
    """

    subject: str
    credential: str
    issuer: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


ANYBODY = Identity(subject="anybody", credential="none")


class NotBelievedError(Exception):
    """A credential does not prove anything. Its text is for the log: why."""


class UnauthenticatedError(ServiceError):
    """It is not known who calls. Whatever the cause, the caller is told the same."""

    def __init__(self) -> None:
        super().__init__(
            Code.UNAUTHENTICATED, "UNAUTHENTICATED", "A valid credential is required: Authorization: Bearer TOKEN."
        )
