"""TLS on both listeners, from files that may be renewed while the server runs.

At each handshake the files' stamps are looked at; where they changed, the files are read anew.
"""

import errno
import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from ..errors import StartError
from ..setting_types import is_exposed
from ..settings import TlsSettings

__all__ = ["Tls"]

_log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Material:
    """The files as they were read at one time, in the form that each of the two libraries wants."""

    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration


class Tls:
    """A certificate, its key, and the authorities of clients if they must show one too (mutual TLS).

    TLS 1.2 at least. Its methods may be called from any thread.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files. Raises StartError, in one line."""
        if settings.certificate is None or settings.key is None:
            raise ValueError("TLS needs a certificate and a key")
        self._certificate = settings.certificate
        self._key = settings.key
        self._client_ca = settings.client_ca
        self._client_ca_on = settings.client_ca_on
        self._lock = threading.Lock()
        self._stamp = self._look()
        try:
            self._material = self._read()
        except (OSError, ssl.SSLError) as error:
            raise StartError(f"tls: {self._problem(error)}.") from error
        self._given_to_grpc = self._material

    def http_context(self) -> ssl.SSLContext:
        """Give a context whose every handshake uses the files of that moment."""

        def use_current(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
            connection.context = self._current().context

        context = self._material.context
        context.sni_callback = use_current
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Give credentials whose every handshake uses the files of that moment."""
        return grpc.dynamic_ssl_server_credentials(
            self._material.configuration,
            self._changed_for_grpc,  # type: ignore[arg-type] # None is for no change: grpc's own documentation
            self._client_ca is not None and "grpc" in self._client_ca_on,
        )

    def _changed_for_grpc(self) -> grpc.ServerCertificateConfiguration | None:
        material = self._current()
        with self._lock:
            if material is self._given_to_grpc:
                return None
            self._given_to_grpc = material
        return material.configuration

    def _current(self) -> _Material:
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._material = self._read()
                except (OSError, ssl.SSLError) as error:
                    _log.error("tls: %s; the certificate that was read before stays in use", self._problem(error))
                else:
                    _log.info("tls: read %s anew", self._certificate)
            return self._material

    def _look(self) -> _Stamp:
        """Say what would be different of the files had they changed; files that are gone have no part in it."""
        stamps = []
        for path in self._files():
            try:
                status = path.stat()
            except OSError:
                continue
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(stamps)

    def _files(self) -> list[Path]:
        return [path for path in (self._certificate, self._key, self._client_ca) if path is not None]

    def _read(self) -> _Material:
        """Read the files. Raises OSError, ssl.SSLError where they do not fit together."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if is_exposed(self._key):
            raise OSError(errno.EPERM, f"every user may open {self._key}; say: chmod o= {self._key}")
        # Without a password at hand, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(self._certificate, self._key, password="")
        authorities = None
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            if "http" in self._client_ca_on:
                context.verify_mode = ssl.CERT_REQUIRED
            authorities = self._client_ca.read_bytes()
        pair = (self._key.read_bytes(), self._certificate.read_bytes())
        return _Material(context, grpc.ssl_server_certificate_configuration([pair], authorities))

    def _problem(self, error: OSError | ssl.SSLError) -> str:
        files = " and ".join(map(str, self._files()))
        if isinstance(error, ssl.SSLError):
            match error.reason:
                case "KEY_VALUES_MISMATCH":
                    return f"the key {self._key} is not that of the certificate {self._certificate}"
                case "NO_CERTIFICATE_OR_CRL_FOUND":
                    return f"{self._client_ca} holds no certificate"
                case _:
                    reason = error.reason or error.strerror
                    return f"{files} cannot be read as a certificate and its unencrypted key, PEM ({reason})"
        return f"{files} cannot be read: {error.strerror}"
