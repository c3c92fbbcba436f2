"""Settings: what may be set, and what holds where nothing is. Imports nothing of ours but the error."""

import os
from pathlib import Path
from typing import Annotated, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    StringConstraints,
    model_validator,
)

__all__ = [
    "Address",
    "CallSettings",
    "CephSettings",
    "ConnectSettings",
    "CorsSettings",
    "LimitSettings",
    "ListenSettings",
    "ScopeSettings",
    "Settings",
    "TlsSettings",
    "UsageSettings",
]


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    try:
        parts = urlsplit(f"//{value}")
        if parts.hostname and parts.port is not None and parts.netloc == value and "@" not in value:
            return Address(parts.hostname, parts.port)
    except ValueError:
        pass
    raise ValueError(f"{value!r} is no address; write HOST:PORT, like 127.0.0.1:8080 or [::1]:8080")


def _readable_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; name one that exists")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read by this user; change its mode or its owner")
    return path


def _words(value: object) -> object:
    """Read the one form that a flag or a variable can give a list."""
    return [word for word in value.replace(",", " ").split(" ") if word] if isinstance(value, str) else value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or value != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{value!r} is no origin; write SCHEME://HOST[:PORT], like https://console.example.com")
    return value


ReadableFile = Annotated[Path, AfterValidator(_readable_file)]
ListenAddress = Annotated[Address, BeforeValidator(_address)]
Origin = Annotated[str, AfterValidator(_origin)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenSettings(_Section):
    http: ListenAddress = Field(
        Address("127.0.0.1", 8080), description="Where Connect and gRPC-Web are served, HOST:PORT."
    )
    grpc: ListenAddress = Field(Address("127.0.0.1", 50051), description="Where gRPC is served, HOST:PORT.")
    drain_timeout: PositiveInt = Field(
        30, description="Seconds that calls in flight have to end once the server is told to stop."
    )


class LimitSettings(_Section):
    message_bytes: Annotated[int, Field(ge=1024, le=1 << 24)] = Field(
        64 * 1024, description="Bytes that a message may have, decompressed or not."
    )
    header_timeout: PositiveInt = Field(10, description="Seconds that a client has to send a request's headers.")
    body_timeout: PositiveInt = Field(30, description="Seconds that a client has to send a request's body.")
    idle_timeout: PositiveInt = Field(75, description="Seconds that a connection is kept open between requests.")


class TlsSettings(_Section):
    certificate: ReadableFile | None = Field(
        None,
        description="The server's certificate and those that lead to its authority, PEM. Serves TLS on both listeners.",
    )
    key: ReadableFile | None = Field(None, description="The certificate's private key, PEM.")
    client_ca: ReadableFile | None = Field(
        None, description="Authorities, PEM: clients must show a certificate that one of them signed."
    )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both, or neither")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and key: without TLS no client can show a certificate")
        return self


class CorsSettings(_Section):
    origins: Annotated[tuple[Origin, ...], BeforeValidator(_words)] = Field(
        (), description="Origins whose pages browsers let call: https://console.example.com, several with commas."
    )


class ConnectSettings(_Section):
    require_protocol_version: bool = Field(
        default=True, description="Refuse Connect calls without the header Connect-Protocol-Version: 1."
    )


class CallSettings(_Section):
    at_once: PositiveInt = Field(256, description="Calls into librbd at a time, for each scope; each takes a thread.")
    waiting: PositiveInt = Field(1024, description="Calls that may wait, for each scope; more are refused at once.")
    waiting_per_image: PositiveInt = Field(
        256, description="Calls that may wait for another on the same image; more are refused at once."
    )
    default_timeout: PositiveInt = Field(60, description="Seconds until the deadline of a call that has none.")
    max_timeout: PositiveInt = Field(3600, description="Seconds until the deadline of a call at the most.")

    def seconds(self, asked: float | None) -> float:
        """Give the time for a call that asked for some, or for none."""
        return min(float(self.default_timeout) if asked is None else asked, float(self.max_timeout))


class UsageSettings(_Section):
    diff_budget: NonNegativeInt = Field(
        4_096,
        description="Without a valid object map: compute used bytes for at most so many objects, else leave unset.",
    )


class CephSettings(_Section):
    connect_timeout: PositiveInt = Field(
        10, description="Seconds that connecting to a cluster may take (client_mount_timeout)."
    )
    mon_timeout: PositiveInt = Field(
        60, description="Seconds that a monitor may take for one command (rados_mon_op_timeout)."
    )
    osd_timeout: PositiveInt = Field(
        60, description="Seconds that an OSD may take for one operation (rados_osd_op_timeout)."
    )


class ScopeSettings(_Section):
    conf: ReadableFile = Field(description="The cluster's ceph.conf.")
    client: Annotated[str, StringConstraints(pattern=r"^client\..+$")] = Field(
        "client.rbd-connect", description="The Ceph user to connect as."
    )
    keyring: ReadableFile | None = Field(None, description="The user's keyring; where librados searches, if unset.")


class Settings(_Section):
    """All settings. ``scopes`` names the Ceph clusters that are served."""

    listen: ListenSettings = ListenSettings()
    limits: LimitSettings = LimitSettings()
    tls: TlsSettings = TlsSettings()
    cors: CorsSettings = CorsSettings()
    connect: ConnectSettings = ConnectSettings()
    calls: CallSettings = CallSettings()
    usage: UsageSettings = UsageSettings()
    ceph: CephSettings = CephSettings()
    scopes: dict[str, ScopeSettings]
