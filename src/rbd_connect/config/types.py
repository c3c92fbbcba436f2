"""What a setting can be: an address, a file that can be read, a file that others cannot, a list in one word."""

import os
import stat
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.fields import FieldInfo

__all__ = [
    "Address",
    "ListenAddress",
    "Name",
    "Names",
    "Network",
    "Origin",
    "PathOrUrl",
    "PoolNamespace",
    "ReadableFile",
    "SecretFile",
    "Section",
    "can_be_path",
    "collide",
    "is_exposed",
    "is_loopback",
    "one_or_more",
    "readable_file",
    "words",
]

_UNIX = "unix:"
# https://man7.org/linux/man-pages/man7/unix.7.html: sun_path, and the zero at its end.
_MOST_PATH_BYTES = 107


class Section(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose one. A host unix:PATH is a socket in the file system."""

    host: str
    port: int

    @property
    def path(self) -> Path | None:
        """Give the path of a socket in the file system."""
        return Path(self.host.removeprefix(_UNIX)) if self.host.startswith(_UNIX) else None

    def __str__(self) -> str:
        if self.path is not None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if isinstance(value, str) and value.startswith(_UNIX):
        return _unix_address(value)
    try:
        parts = urlsplit(f"//{value}")
        if parts.hostname and parts.port is not None and parts.netloc == value and "@" not in value:
            return Address(parts.hostname, parts.port)
    except ValueError:
        pass
    raise ValueError(
        f"{value!r} is no address; write HOST:PORT, like 127.0.0.1:8080 or [::1]:8080, or unix:PATH for a socket in "
        "the file system"
    )


def _unix_address(value: str) -> Address:
    """Read unix:PATH; unix:///PATH is the same."""
    path = value.removeprefix(_UNIX)
    if path.startswith("//"):
        path = path.removeprefix("//")
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"{value!r} is no socket; write unix:PATH, with a path from the root, like unix:/run/x.sock")
    if len(path.encode()) > _MOST_PATH_BYTES:
        raise ValueError(f"{value!r} is too long for a socket; its path may have {_MOST_PATH_BYTES} bytes")
    return Address(_UNIX + path, 0)


def collide(one: Address, other: Address) -> bool:
    """Say whether two addresses cannot both be listened on, as far as that can be said without looking up names.

    [::] is taken for IPv4's addresses, too, as on every Linux that was not told otherwise (``net.ipv6.bindv6only``).
    """
    if one.path is not None and other.path is not None:
        return os.path.realpath(one.path) == os.path.realpath(other.path)
    if one.path is not None or other.path is not None or not one.port or one.port != other.port:
        return False
    return one.host == other.host or any(
        first == second or _covers(first, second) or _covers(second, first)
        for first in _addresses(one.host)
        for second in _addresses(other.host)
    )


def _addresses(host: str) -> list[IPv4Address | IPv6Address]:
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    try:
        return [getattr(address, "ipv4_mapped", None) or address for address in map(ip_address, hosts)]
    except ValueError:
        return []


def _covers(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    return one.is_unspecified and one.version >= other.version


def can_be_path(field: FieldInfo) -> bool:
    """Say whether a setting can be a path in the file system, by its type."""
    return PathOrUrl in field.metadata or _has_path(field.annotation)


def _has_path(annotation: object) -> bool:
    return annotation is Path or annotation == PathOrUrl or any(map(_has_path, get_args(annotation)))


def readable_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; name one that exists")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} cannot be read by this user; change its mode or its owner")
    return path


def is_exposed(path: Path) -> bool:
    """Say whether every user of this machine may open a file."""
    return bool(path.stat().st_mode & stat.S_IRWXO)


def _secret_file(path: Path) -> Path:
    if is_exposed(path):
        raise ValueError(f"{path} holds secrets, and every user may open it; say: chmod o= {path}")
    return path


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host, or be it."""
    if host == "localhost" or host.startswith(_UNIX):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


def words(value: object) -> object:
    """Read the one form that a flag or a variable can give a list."""
    return [word for word in value.replace(",", " ").split(" ") if word] if isinstance(value, str) else value


def _network(value: object) -> object:
    if not isinstance(value, str) or value == "unix":
        return value
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(
            f"{value!r} is no network: {error}; write one like 10.1.2.0/24 or fd00::/8, or unix for a socket in the "
            "file system"
        ) from None


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or value != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"{value!r} is no origin; write SCHEME://HOST[:PORT], like https://console.example.com")
    return value


def _pool_namespace(value: str) -> str:
    pool, slash, namespace = value.partition("/")
    if not (pool and slash and namespace) or "/" in namespace:
        raise ValueError(f"{value!r} is no namespace of a pool; write POOL/NAMESPACE, like rbd/team")
    return value


def one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


# What a text is marked with that can be a path, or a URL.
PathOrUrl: Final = "PathOrUrl"
Network = Annotated[IPv4Network | IPv6Network | Literal["unix"], BeforeValidator(_network)]
ReadableFile = Annotated[Path, AfterValidator(readable_file)]
SecretFile = Annotated[ReadableFile, AfterValidator(_secret_file)]
Name = Annotated[str, StringConstraints(min_length=1)]
Names = Annotated[tuple[Name, ...], BeforeValidator(one_or_more), Field(min_length=1)]
ListenAddress = Annotated[Address, BeforeValidator(_address)]
PoolNamespace = Annotated[str, AfterValidator(_pool_namespace)]
Origin = Annotated[str, AfterValidator(_origin)]
