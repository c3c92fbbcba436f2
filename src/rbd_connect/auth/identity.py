"""Who calls, as far as it was proved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from connectrpc.code import Code

from rbd_connect.model.errors import ServiceError

__all__ = ["ANYBODY", "Identity", "NotVerifiedError", "UnauthenticatedError"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller. ``subject`` is a token's, or ``issuer:`` and what the JWT names.

    ``credential`` says by what it was proved, and is no secret. ``claims`` are a JWT's.
    """

    subject: str
    credential: str
    issuer: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def issuer_and_name(self) -> tuple[str | None, str]:
        """Who names the subject, and as what. Neither a token's subject nor an issuer's name has a colon."""
        issuer, colon, name = self.subject.partition(":")
        return (issuer, name) if colon else (None, self.subject)


ANYBODY = Identity(subject="anybody", credential="none")


class NotVerifiedError(Exception):
    """A credential does not prove anything. Its text is for the log: why."""


class UnauthenticatedError(ServiceError):
    """It is not known who calls. Whatever the cause, the caller is told the same."""

    def __init__(self, cause: str | None = None) -> None:
        super().__init__(
            Code.UNAUTHENTICATED, "UNAUTHENTICATED", "A valid credential is required: Authorization: Bearer TOKEN."
        )
        self.cause = cause
