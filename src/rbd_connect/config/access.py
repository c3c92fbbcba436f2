"""Settings of who may call, and what is granted to whom."""

from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from rbd_connect.common.similar_names import hint

from .types import Name, Names, PathOrUrl, ReadableFile, SecretFile, Section, is_loopback, one_or_more, readable_file

__all__ = [
    "ACTIONS",
    "CERTIFICATE_ISSUER",
    "Action",
    "AuthSettings",
    "CertificateName",
    "GrantSettings",
    "IssuerSettings",
    "SubjectSettings",
    "is_safe_url",
]

# What stands before the names that client certificates have, as issuers' names do before those of JWTs.
CERTIFICATE_ISSUER = "certificate"
CertificateName = Literal["cn", "dns", "email", "uri"]

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
        allowed = sorted(_ALGORITHMS)
        question = hint(algorithm, allowed)
        raise ValueError(f"{algorithm!r} is not allowed; allowed are {', '.join(allowed)}. {question}".rstrip(". "))
    return algorithm


def is_safe_url(value: str) -> bool:
    """Say whether nobody on the way can change what comes from a URL: by https, or on this machine."""
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and is_loopback(str(parts.hostname)))
        )
    except ValueError:
        return False


def _jwks(value: str) -> str:
    if is_safe_url(value):
        return value
    if urlsplit(value).scheme:
        raise ValueError(f"{value!r} is neither a path nor a URL with https; who can change the keys can be anybody")
    readable_file(Path(value))
    return value


def _proxy(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https", "socks5", "socks5h"} or not parts.hostname:
        raise ValueError("is no proxy; write one like http://proxy.example.com:3128")
    return value


class AuthSettings(Section):
    tokens: SecretFile | None = Field(
        None, description="The file with the hashes of bearer tokens, as `rbd-connect token new` writes it."
    )
    certificate_name: CertificateName | None = Field(
        None,
        description="The name in a client's certificate that is its subject, certificate:NAME, where no token is "
        "shown: cn, or the one alternative name that is dns, email or uri. Needs client_ca.",
    )


class IssuerSettings(Section):
    """An issuer of JWTs, by OpenID Connect."""

    issuer: Name = Field(description="The claim iss of its tokens.")
    audience: Name = Field(description="What the claim aud must have: the name of this server with the issuer.")
    jwks: Annotated[str, AfterValidator(_jwks), PathOrUrl] | None = Field(
        None, description="Its public keys: a URL, or a file; else what the issuer's address tells (discovery)."
    )
    jwks_ca: ReadableFile | None = Field(None, description="The authority of the URL's certificate; else the system's.")
    proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(
        None, description="The proxy by which keys are fetched; the environment's is never used."
    )
    algorithms: Annotated[tuple[Annotated[str, AfterValidator(_is_asymmetric)], ...], Field(min_length=1)] = Field(
        ("RS256",), description="The algorithms that are accepted."
    )
    leeway: Annotated[int, Field(ge=0, le=300)] = Field(30, description="Seconds that clocks may differ.")
    required_claims: tuple[str, ...] = Field(
        (), description="Claims that must be there, besides exp, iss, aud, subject_claim."
    )
    subject_claim: Name = Field("sub", description="The claim that names the subject.")

    @property
    def has_keys_in_a_file(self) -> bool:
        return self.jwks is not None and not is_safe_url(self.jwks)

    @model_validator(mode="after")
    def _has_safe_keys(self) -> Self:
        if self.jwks is None and not is_safe_url(self.issuer):
            raise ValueError(
                f"needs jwks: {self.issuer!r} is no URL with https, so that it cannot tell where its keys are"
            )
        addresses = [self.issuer] if self.jwks is None else [self.jwks]
        if self.proxy is not None and not all(address.startswith("https://") for address in addresses):
            raise ValueError("proxy needs keys by https; who can change the keys can be anybody")
        return self


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
