"""JWTs of OpenID Connect issuers: RFC 7519, verified with PyJWT."""

import re
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

import jwt

from rbd_connect.config.access import IssuerSettings

from .identity import Identity, NotVerifiedError
from .keys import Keys

__all__ = ["Issuer", "Issuers"]

_REQUIRED = ("exp", "iss", "aud")
_MOST_SUBJECT_CHARACTERS = 255
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Issuer:
    """One issuer, by the name that the settings give it."""

    def __init__(self, name: str, settings: IssuerSettings) -> None:
        """Raises StartError."""
        self.settings = settings
        self._name = name
        self._keys = Keys(settings)

    def can_stay(self, settings: IssuerSettings) -> bool:
        """Say whether there is nothing to be read anew: keys that come from a URL are looked after by themselves."""
        return settings == self.settings and not settings.has_keys_in_a_file

    async def identity(self, token: str, header: Mapping[str, Any]) -> Identity:
        """Say whom a token of this issuer names. Raises NotVerifiedError."""
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self.settings.algorithms:
            raise NotVerifiedError(f"the algorithm {short(algorithm)} is not allowed")
        key_id = header.get("kid")
        if key_id is not None and not isinstance(key_id, str):
            raise NotVerifiedError("kid is no string")
        key = await self._keys.find(key_id, algorithm)
        try:
            claims = self._claims(token, key)
        except jwt.InvalidSignatureError:
            another = await self._keys.find_another(key_id, algorithm, key)
            try:
                claims = self._claims(token, another)
            except jwt.InvalidSignatureError as error:
                raise NotVerifiedError(f"{self._name}: {error}") from error
        return Identity(
            subject=f"{self._name}:{self._subject(claims)}",
            credential=f"jwt of {self._name}",
            issuer=self._name,
            claims=claims,
        )

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        """Verify a token. Raises jwt.InvalidSignatureError where another key signed it, NotVerifiedError otherwise."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self.settings.audience,
                issuer=self.settings.issuer,
                leeway=self.settings.leeway,
                options={
                    "require": [*_REQUIRED, self.settings.subject_claim, *self.settings.required_claims],
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.InvalidSignatureError:
            raise
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise NotVerifiedError(f"{self._name}: {error}") from error
        return claims

    def _subject(self, claims: Mapping[str, Any]) -> str:
        subject = claims.get(self.settings.subject_claim)
        if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT_CHARACTERS:
            raise NotVerifiedError(f"{self.settings.subject_claim} is no name")
        if not subject.isprintable():
            raise NotVerifiedError(f"{self.settings.subject_claim} has characters that cannot be shown")
        return subject


class Issuers:
    """All issuers."""

    def __init__(self, settings: Mapping[str, IssuerSettings], known: "Issuers | None" = None) -> None:
        """Make them; those of ``known`` that can stay are taken over, with their keys.

        Raises StartError.
        """
        before: Mapping[str, Issuer] = {} if known is None else known._issuers  # noqa: SLF001 - of the same class
        self._issuers: Mapping[str, Issuer] = {
            name: before[name] if name in before and before[name].can_stay(one) else Issuer(name, one)
            for name, one in settings.items()
        }
        self._by_claim = {issuer.settings.issuer: issuer for issuer in self._issuers.values()}

    async def identity(self, token: str) -> Identity:
        """Say whom a token names. Raises NotVerifiedError."""
        if not _FORM.fullmatch(token):
            raise NotVerifiedError("it is neither a token of this server nor a JWT")
        try:
            header = jwt.get_unverified_header(token)
            # Only to choose whose keys are to verify it; the claims are read again by what verifies them.
            claimed = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, TypeError, ValueError, RecursionError) as error:
            raise NotVerifiedError(f"it is no JWT: {error}") from error
        issuer = self._by_claim.get(claimed) if isinstance(claimed, str) else None
        if issuer is None:
            raise NotVerifiedError("its issuer is not known")
        return await issuer.identity(token, header)
