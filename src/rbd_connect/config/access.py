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
        description="The name in a client's certificate that becomes the subject certificate:NAME if the client "
        "sends no token: cn, or the one alternative name of the kind dns, email or uri. Needs client_ca.",
    )


class IssuerSettings(Section):
    """An issuer of JWTs, by OpenID Connect."""

    issuer: Name = Field(description="The claim iss of its tokens.")
    audience: Name = Field(
        description="The value that the claim aud must contain: the name of this server at the issuer."
    )
    jwks: Annotated[str, AfterValidator(_jwks), PathOrUrl] | None = Field(
        None,
        description="The issuer's public keys: a URL or a file. If unset, they are found by OpenID Connect discovery.",
    )
    jwks_ca: ReadableFile | None = Field(
        None, description="The authority of the certificate of the jwks URL. If unset, the system's."
    )
    proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(
        None, description="The proxy through which keys are fetched. Proxies of the environment are never used."
    )
    algorithms: Annotated[tuple[Annotated[str, AfterValidator(_is_asymmetric)], ...], Field(min_length=1)] = Field(
        ("RS256",),
        description="The accepted algorithms: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA.",
    )
    leeway: Annotated[int, Field(ge=0, le=300)] = Field(30, description="Seconds by which clocks may differ.")
    required_claims: tuple[str, ...] = Field(
        (), description="Claims that a JWT must have, besides exp, iss, aud and subject_claim."
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

    subjects: Annotated[tuple[Name, ...], BeforeValidator(one_or_more)] = Field(
        (), description="The subjects that get the grant, as globs. A grant needs subjects or claims."
    )
    issuer: str | None = Field(None, description="The issuer whose claims are compared: NAME of [issuers.NAME].")
    claims: dict[str, Names] = Field(
        default_factory=dict,
        description="Claims that a JWT of this issuer must have: each with one of the "
        "given values, compared as they are.",
    )
    actions: Annotated[
        tuple[Literal[Action, "*", "image.*"], ...], BeforeValidator(one_or_more), Field(min_length=1)
    ] = Field(description=f"The allowed actions: {', '.join(ACTIONS)}; image.* for the last three, * for all.")
    scopes: Names = Field(description="The scopes, as globs.")
    pools: Names = Field(description="The pools, as globs.")
    namespaces: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1)] = Field(
        ("",), description='The namespaces, as globs; "" is the default namespace.'
    )
    images: Names = Field(description="The images, as globs.")

    @model_validator(mode="after")
    def _says_to_whom(self) -> Self:
        if not self.subjects and not self.claims:
            raise ValueError("must say to whom, with subjects or claims")
        if bool(self.claims) != (self.issuer is not None):
            raise ValueError("issuer and claims go together: whose claims are meant?")
        return self


class SubjectSettings(Section):
    in_flight: PositiveInt = Field(
        128, description="Calls that one subject may have in flight. Without authentication there is no such limit."
    )
    rate: NonNegativeInt = Field(
        0, description="Calls per second that one subject may begin, and the size of a burst. 0 means no limit."
    )
