"""Settings: what may be set, and what holds where nothing is."""

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo

from rbd_connect.common.similar_names import hint

from .access import CERTIFICATE_ISSUER, AuthSettings, GrantSettings, IssuerSettings, SubjectSettings
from .origins import Key, Origins
from .types import (
    Address,
    ListenAddress,
    Network,
    Origin,
    PoolNamespace,
    ReadableFile,
    SecretFile,
    Section,
    collide,
    is_loopback,
    words,
)

__all__ = [
    "AuditSettings",
    "CallSettings",
    "CephSettings",
    "ConnectSettings",
    "CorsSettings",
    "LimitSettings",
    "ListenSettings",
    "ProxySettings",
    "ScopeSettings",
    "Settings",
    "TlsSettings",
    "UsageSettings",
    "fields_of",
]


class ListenSettings(Section):
    http: ListenAddress = Field(
        Address("127.0.0.1", 8080), description="Address of Connect and gRPC-Web, HOST:PORT or unix:PATH."
    )
    grpc: ListenAddress = Field(Address("127.0.0.1", 50051), description="Address of gRPC, HOST:PORT or unix:PATH.")
    probes: ListenAddress | None = Field(
        None,
        description="Address for /healthz and /readyz alone, HOST:PORT or unix:PATH: without TLS, without credentials, "
        "and "
        "without the names of scopes. The http address serves both probes, too.",
    )
    drain_delay: NonNegativeInt = Field(
        0,
        description="Seconds for which the server still accepts calls after it is told to stop. Meanwhile /readyz and "
        "gRPC's health say that it is not ready.",
    )
    drain_timeout: PositiveInt = Field(
        30, description="Seconds that calls in flight have to end after the server is told to stop."
    )

    def clashes(self) -> Iterator[tuple[str, str]]:
        """Name two listeners that cannot both have their addresses."""
        addresses = {"http": self.http, "grpc": self.grpc, "probes": self.probes}
        for (first, one), (second, other) in combinations(addresses.items(), 2):
            if one is not None and other is not None and collide(one, other):
                yield first, second


class LimitSettings(Section):
    message_bytes: Annotated[int, Field(ge=1024, le=1 << 24)] = Field(
        64 * 1024, description="Bytes that a request's message may have, compressed or decompressed."
    )
    header_timeout: PositiveInt = Field(10, description="Seconds that a client has to send a request's headers.")
    body_timeout: PositiveInt = Field(30, description="Seconds that a client has to send a request's body.")
    idle_timeout: PositiveInt = Field(75, description="Seconds that a connection is kept open between requests.")
    connections: PositiveInt = Field(
        2048,
        description="HTTP connections at most. Beyond, the server closes those that have waited longest for a request.",
    )
    grpc_connections: PositiveInt = Field(
        16384, description="gRPC connections at most. More are refused; silent ones end after header_timeout."
    )
    handshakes: PositiveInt = Field(
        512, description="TLS handshakes at a time, for HTTP. Beyond, the server gives up the oldest."
    )
    header_lines: PositiveInt = Field(128, description="Header lines that a request may have.")
    chunks: PositiveInt = Field(1024, description="Chunks in which the body of a request may come.")
    linger_timeout: PositiveInt = Field(
        10,
        description="Seconds for which the rest of a refused request is read and dropped, so that its answer arrives.",
    )
    linger_bytes: PositiveInt = Field(
        8 << 20, description="Bytes of the rest of a refused request that are read and dropped at most."
    )
    streams: PositiveInt = Field(256, description="gRPC calls at a time on one connection; more wait.")
    watches: PositiveInt = Field(
        256, description="Streams of gRPC's health and reflection services at a time; more are refused."
    )
    connection_age: PositiveInt = Field(
        1800,
        description="Seconds after which a connection accepts no more requests, so that clients find other servers.",
    )


class TlsSettings(Section):
    certificate: ReadableFile | None = Field(
        None,
        description="The server's certificate and the chain to its authority, PEM. Enables TLS on both listeners.",
    )
    key: SecretFile | None = Field(None, description="The certificate's private key, PEM.")
    client_ca: ReadableFile | None = Field(
        None, description="Authorities, PEM. Clients must also show a certificate that one of them signed."
    )
    client_ca_on: Annotated[tuple[Literal["http", "grpc"], ...], BeforeValidator(words)] = Field(
        ("http", "grpc"), description="The listeners on which clients must show a certificate: http, grpc, or both."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both, or neither")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and key: without TLS no client can show a certificate")
        return self


class ProxySettings(Section):
    trusted: Annotated[tuple[Network, ...], BeforeValidator(words)] = Field(
        (),
        description="Networks of proxies whose headers about the client are used, like 10.1.2.0/24; unix stands for "
        "every "
        "client of a socket in the file system.",
    )
    header: Literal["x-forwarded-for", "forwarded"] = Field(
        "x-forwarded-for",
        description="The header to read: x-forwarded-for, with X-Forwarded-Proto, or "
        "forwarded. The other one is ignored.",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Trusted proxies begin each connection to the http address with the "
        "PROXY protocol, version 1 or 2.",
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.proxy_protocol and not self.trusted:
            raise ValueError("proxy_protocol is for trusted proxies; name them in trusted")
        return self


HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]


class CorsSettings(Section):
    origins: Annotated[tuple[Origin, ...], BeforeValidator(words)] = Field(
        (), description="Origins whose pages may call from a browser, like https://console.example.com."
    )
    headers: Annotated[tuple[HeaderName, ...], BeforeValidator(words)] = Field(
        (),
        description="Headers that these pages may send besides those of Connect, gRPC-Web, traceparent and tracestate.",
    )


class ConnectSettings(Section):
    require_protocol_version: bool = Field(
        default=True, description="Refuse Connect calls without the header Connect-Protocol-Version: 1."
    )


class AuditSettings(Section):
    file: Path | None = Field(
        None, description="A regular file for the audit, one JSON line for each change. If unset, standard output."
    )


class CallSettings(Section):
    at_once: PositiveInt = Field(
        256, description="Calls into librbd at a time in each scope. Each takes a thread of the scope's worker process."
    )
    waiting: PositiveInt = Field(1024, description="Calls that may wait in each scope; more are refused at once.")
    waiting_per_image: PositiveInt = Field(
        256, description="Calls that may wait for another on the same image; more are refused at once."
    )
    default_timeout: PositiveInt = Field(60, description="Seconds until the deadline of a call that gives none.")
    max_timeout: PositiveInt = Field(3600, description="Seconds until the deadline of any call at most.")

    def seconds(self, asked: float | None) -> float:
        """Give the time for a call that asked for some, or for none."""
        return min(float(self.default_timeout) if asked is None else asked, float(self.max_timeout))


class UsageSettings(Section):
    diff_budget: NonNegativeInt = Field(
        4_096,
        description="Objects up to which used bytes of an image without a valid object map "
        "are computed; else they are unset.",
    )


class CephSettings(Section):
    connect_timeout: PositiveInt = Field(
        10, description="Seconds that connecting to a cluster may take (client_mount_timeout)."
    )
    mon_timeout: PositiveInt = Field(
        60, description="Seconds that a monitor may take for one command (rados_mon_op_timeout)."
    )
    osd_timeout: PositiveInt = Field(
        60, description="Seconds that an OSD may take for one operation (rados_osd_op_timeout)."
    )


class ScopeSettings(Section):
    conf: ReadableFile = Field(description="The cluster's ceph.conf.")
    client: Annotated[str, StringConstraints(pattern=r"^client\..+$")] = Field(
        "client.rbd-connect", description="The Ceph user to connect as."
    )
    keyring: SecretFile | None = Field(None, description="The user's keyring. If unset, librados searches for it.")
    namespaces: Annotated[tuple[PoolNamespace, ...], BeforeValidator(words)] = Field(
        (),
        description="Namespaces, POOL/NAMESPACE, to list where the Ceph user may not list the namespaces of a pool.",
    )


IssuerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$")]


class Settings(Section):
    """All settings. ``scopes`` names the Ceph clusters that are served, and ``issuers`` those of JWTs."""

    listen: ListenSettings = ListenSettings()
    limits: LimitSettings = LimitSettings()
    tls: TlsSettings = TlsSettings()
    proxies: ProxySettings = ProxySettings()
    cors: CorsSettings = CorsSettings()
    connect: ConnectSettings = ConnectSettings()
    calls: CallSettings = CallSettings()
    usage: UsageSettings = UsageSettings()
    ceph: CephSettings = CephSettings()
    auth: AuthSettings = AuthSettings()
    subjects: SubjectSettings = SubjectSettings()
    audit: AuditSettings = AuditSettings()
    issuers: dict[IssuerName, IssuerSettings] = Field(default_factory=dict)
    grants: tuple[GrantSettings, ...] = ()
    insecure: bool = Field(
        default=False,
        description="Serve every client that can reach the server, also without "
        "authentication, and accept tokens without TLS.",
    )
    scopes: dict[str, ScopeSettings]

    @property
    def with_authentication(self) -> bool:
        """Whether callers must say who they are."""
        return self.auth.tokens is not None or self.auth.certificate_name is not None or bool(self.issuers)

    _origins: Origins = PrivateAttr(default_factory=Origins)

    @property
    def origins(self) -> Origins:
        """Where they were given."""
        return self._origins

    def replaced(self, names: Collection[str], other: "Settings") -> "Settings":
        """Return these, but those of some names as another has them. They are not checked."""
        settings = self.model_copy(update={name: getattr(other, name) for name in names})
        settings._origins = self._origins.replaced(names, other.origins)  # noqa: SLF001 - of the same class
        return settings

    @model_validator(mode="after")
    def _is_safe(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, Origins):
            self._origins = info.context
        for danger in self.dangers():
            raise ValueError(danger)
        return self

    def dangers(self) -> Iterator[str]:
        """Say what is not safe, or cannot be meant, in the settings together. Once checked, there is nothing."""
        place = self._origins.place
        if not self.with_authentication and not self.insecure:
            for name, address in (("http", self.listen.http), ("grpc", self.listen.grpc)):
                if not is_loopback(address.host):
                    yield (
                        f"{place('listen', name)}: {address} can be reached by others, and nobody has to say who he "
                        "is. Set auth.tokens or issuers, or listen on 127.0.0.1; if you know who can reach it, say "
                        "--insecure"
                    )
        for first, second in self.listen.clashes():
            one, other = getattr(self.listen, first), getattr(self.listen, second)
            yield (
                f"{place('listen', second)}: {other} cannot be listened on beside {place('listen', first)}, which is "
                f"{one}; give each listener a port or a socket of its own"
            )
        if not self.with_authentication and self.grants:
            yield f"{place('grants')}: are to nobody, since nobody can say who he is. Set auth.tokens or issuers"
        if self.auth.certificate_name is not None and self.tls.client_ca is None:
            name = place("auth", "certificate_name")
            yield f"{name}: needs tls.client_ca: without it no client shows a certificate"
        yield from self._dangers_of_issuers()

    def _dangers_of_issuers(self) -> Iterator[str]:
        place = self._origins.place
        if self.auth.certificate_name is not None and CERTIFICATE_ISSUER in self.issuers:
            name = place("issuers", CERTIFICATE_ISSUER)
            yield f"{name}: the subjects of certificates begin so; give it another name"
        for number, grant in enumerate(self.grants):
            if grant.issuer is not None and grant.issuer not in self.issuers:
                problem = f"there is no issuers.{grant.issuer}. {hint(grant.issuer, self.issuers)}".strip()
                yield f"{place('grants', number, 'issuer')}: {problem}"
        named: dict[str, str] = {}
        for name, issuer in self.issuers.items():
            if issuer.issuer in named:
                problem = f"is that of issuers.{named[issuer.issuer]}; write one for each issuer"
                yield f"{place('issuers', name, 'issuer')}: {problem}"
            named[issuer.issuer] = name


_TABLES: Mapping[str | int, type[BaseModel]] = {
    "scopes": ScopeSettings,
    "issuers": IssuerSettings,
    "grants": GrantSettings,
}


def fields_of(section: Key) -> Mapping[str, FieldInfo]:
    """Return the settings of a section by their names: of ``("scopes", NAME)``; of (), the sections."""
    if not section:
        return Settings.model_fields
    if section[0] in _TABLES:
        return _TABLES[section[0]].model_fields if len(section) > 1 else {}
    field = Settings.model_fields.get(str(section[0]))
    return type(field.default).model_fields if field and isinstance(field.default, BaseModel) else {}
