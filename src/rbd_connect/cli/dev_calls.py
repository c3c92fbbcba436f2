"""Calls to paste, for the server that `rbd-connect dev` runs: by its addresses, its TLS, and with a token."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509

from rbd_connect.config.settings import Settings
from rbd_connect.config.types import Address, is_loopback
from rbd_connect.devcluster import demo

__all__ = ["PLACEHOLDERS", "SCOPE", "calls"]

SCOPE = "dev"
# Where the certificate and the key of a client stand that the server does not have.
PLACEHOLDERS = ("client.pem", "client.key")

_METHOD = "otterscale.storage.v1.StorageService/CreateImageSnapshot"
_LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """How a listener is reached: the URL, and the flags that are needed, for curl and for buf."""

    curl_url: str
    buf_url: str
    curl: Sequence[str] = field(default_factory=list)
    buf: Sequence[str] = field(default_factory=list)


def calls(settings: Settings, http: Address, grpc: Address, token: str | None) -> Iterator[str]:
    """Yield a command for each kind of client, to be run in the root of the repository.

    ``http`` and ``grpc`` are where the server listens; ``token`` is shown, if there is one.
    """
    header = [f"--header {shlex.quote(f'Authorization: Bearer {token}')}"] if token is not None else []
    by_http, by_grpc = _target(settings, "http", http), _target(settings, "grpc", grpc)
    kind = "--header 'Content-Type: application/json' --header 'Connect-Protocol-Version: 1'"
    yield _command(f"curl {kind}", *by_http.curl, *header, *_call("first", by_http.curl_url))
    yield _command(".venv/bin/buf curl --schema proto", *by_http.buf, *header, *_call("second", by_http.buf_url))
    # By TLS, the handshake says that it is HTTP/2.
    prior = "" if by_grpc.buf_url.startswith("https:") else " --http2-prior-knowledge"
    start = f".venv/bin/buf curl --protocol grpc{prior}"
    yield _command(start, *by_grpc.buf, *header, *_call("third", by_grpc.buf_url))


def _command(*lines: str) -> str:
    return " \\\n  ".join(lines)


def _call(snapshot: str, url: str) -> tuple[str, str]:
    data = (
        f'{{"scope": "{SCOPE}", "poolName": "{demo.POOL}", "imageName": "{demo.IMAGE}", "snapshotName": "{snapshot}"}}'
    )
    return f"--data {shlex.quote(data)}", shlex.quote(url)


def _target(settings: Settings, listener: Literal["http", "grpc"], address: Address) -> _Target:
    host = _reachable(address.host) if address.path is None else _LOCALHOST
    flags = [] if address.path is None else [f"--unix-socket {shlex.quote(str(address.path))}"]
    if settings.tls.certificate is None:
        url = _url("http", host, address)
        return _Target(curl_url=url, buf_url=url, curl=flags, buf=flags)
    name = _name_of(settings.tls.certificate, host)
    # The server's own certificate will do in the place of its authority's, which need not be known here.
    flags.append(f"--cacert {shlex.quote(str(settings.tls.certificate))}")
    if settings.tls.client_ca is not None and listener in settings.tls.client_ca_on:
        flags.append("--cert {} --key {}".format(*PLACEHOLDERS))
    return _Target(
        curl_url=_url("https", name, address),
        buf_url=_url("https", host, address),
        curl=[*flags, *_other_name_by_curl(settings, name, host, address)],
        buf=flags if name == host else [*flags, f"--servername {name}"],
    )


def _other_name_by_curl(settings: Settings, name: str, host: str, address: Address) -> Iterator[str]:
    """Have curl take the server for one with another name."""
    if name == host:
        return
    if address.path is None:
        yield f"--connect-to ::{_bracketed(host)}:{address.port}"
    if not settings.with_authentication and not is_loopback(name):  # then Host must be a name of this machine
        yield f"--header 'Host: {_LOCALHOST}'"


def _reachable(host: str) -> str:
    """Return a host by which this machine reaches a listener: of one on all addresses, loopback's."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"  # noqa: PLR2004 - IPv4


def _url(scheme: str, host: str, address: Address) -> str:
    port = "" if address.path is not None else f":{address.port}"
    return f"{scheme}://{_bracketed(host)}{port}/{_METHOD}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _name_of(certificate: Path, host: str) -> str:
    """Return a name of the server's certificate: the host itself, if it has that."""
    try:
        names = _names(x509.load_pem_x509_certificates(certificate.read_bytes())[0])
    except (OSError, ValueError, x509.ExtensionNotFound):
        return host
    if host in names or not names:
        return host
    name = _LOCALHOST if _LOCALHOST in names else names[0]
    return name.replace("*", "rbd-connect")


def _names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
