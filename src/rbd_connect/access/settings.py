"""Settings of who may call, and what is granted to whom."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from ..setting_types import Name, Names, ReadableFile, SecretFile, Section, is_loopback, one_or_more, readable_file

__all__ = ["ACTIONS", "Action", "AuthSettings", "GrantSettings", "IssuerSettings", "SubjectSettings"]

Action = Literal[
    "list",
    "create",
    "delete",
    "protect",
    "unprotect",
    "rollback",
    "image.create",
    "image.update",
    "image.delete",
]
ACTIONS: tuple[Action, ...] = get_args(Action)


# Those whose keys are not secrets of the issuer: what verifies cannot sign. Neither HMAC's nor ``none`` are among them.
_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})


def _is_asymmetric(algorithm: str) -> str:
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"{algorithm!r} is not allowed; allowed are {', '.join(sorted(_ALGORITHMS))}")
    return algorithm


def _jwks(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme == "https" and parts.hostname:
        return value
    if parts.scheme == "http" and parts.hostname and is_loopback(parts.hostname):
        return value
    if parts.scheme:
        raise ValueError(f"{value!r} is neither a path nor a URL with https; who can change the keys can be anybody")
    readable_file(Path(value))
    return value


class AuthSettings(Section):
    tokens: SecretFile | None = Field(
        None, description="The file with the hashes of bearer tokens, as `rbd-connect token new` writes it."
    )


class IssuerSettings(Section):
    """An issuer of JWTs, by OpenID Connect."""

    issuer: Name = Field(description="The claim iss of its tokens.")
    audience: Name = Field(description="What the claim aud must have: the name of this server with the issuer.")
    jwks: Annotated[str, AfterValidator(_jwks)] = Field(description="Its public keys: a URL, or a file.")
    jwks_ca: ReadableFile | None = Field(None, description="The authority of the URL's certificate; else the system's.")
    algorithms: Annotated[tuple[Annotated[str, AfterValidator(_is_asymmetric)], ...], Field(min_length=1)] = Field(
        ("RS256",), description="The algorithms that are accepted."
    )
    leeway: Annotated[int, Field(ge=0, le=300)] = Field(30, description="Seconds that clocks may differ.")
    required_claims: tuple[str, ...] = Field((), description="Claims that must be there, besides exp, iss, aud, sub.")
    subject_claim: Name = Field("sub", description="The claim that names the subject.")


class GrantSettings(Section):
    """Who may do what, where. Names are globs: ``*``, ``?``, ``[abc]``."""

    subjects: Annotated[tuple[Name, ...], BeforeValidator(one_or_more)] = ()
    issuer: str | None = None
    claims: dict[str, Names] = Field(default_factory=dict)
    actions: Annotated[tuple[Literal[Action, "*", "image.*"], ...], BeforeValidator(one_or_more), Field(min_length=1)]
    scopes: Names
    pools: Names
    namespaces: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1)] = ("",)
    images: Names

    @model_validator(mode="after")
    def _says_to_whom(self) -> Self:
        if not self.subjects and not self.claims:
            raise ValueError("must say to whom, with subjects or claims")
        if bool(self.claims) != (self.issuer is not None):
            raise ValueError("issuer and claims go together: whose claims are meant?")
        return self


class SubjectSettings(Section):
    in_flight: PositiveInt = Field(128, description="Calls that one subject may have in flight.")
    rate: NonNegativeInt = Field(
        0, description="Calls a second that one subject may begin, and as many at once; 0 is without bound."
    )
