"""Settings: what may be set, and what holds where nothing is. Imports nothing of ours but the error."""

import os
from pathlib import Path
from typing import Annotated, NamedTuple
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
)

__all__ = ["Address", "CephSettings", "ConnectSettings", "ListenSettings", "ScopeSettings", "Settings", "UsageSettings"]


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


ReadableFile = Annotated[Path, AfterValidator(_readable_file)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenSettings(_Section):
    http: Annotated[Address, BeforeValidator(_address)] = Field(
        Address("127.0.0.1", 8080), description="Where Connect and gRPC-Web are served, HOST:PORT."
    )


class ConnectSettings(_Section):
    require_protocol_version: bool = Field(
        default=True, description="Refuse Connect calls without the header Connect-Protocol-Version: 1."
    )


class UsageSettings(_Section):
    diff_budget: NonNegativeInt = Field(
        16_000,
        description="Without a valid object map: compute used bytes for at most so many objects, else leave unset.",
    )


class CephSettings(_Section):
    threads: PositiveInt = Field(64, description="Calls into librbd at a time, for each scope.")
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
    connect: ConnectSettings = ConnectSettings()
    usage: UsageSettings = UsageSettings()
    ceph: CephSettings = CephSettings()
    scopes: dict[str, ScopeSettings]
