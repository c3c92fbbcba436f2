"""TLS on both listeners, from files that may be renewed while the server runs.

At each handshake the files' stamps are looked at; where they changed, the files are read anew.
"""

import errno
import logging
import ssl
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from rbd_connect.config.certificates import Certificates, is_in_another_place
from rbd_connect.config.file_stamps import Stamps, stamps
from rbd_connect.config.settings import TlsSettings
from rbd_connect.config.types import is_exposed
from rbd_connect.model.errors import StartError

__all__ = ["Tls"]

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Material:
    """The files as they were read at one time, in the form that each of the two libraries wants."""

    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration
    certificates: Certificates
    authorities: Certificates  # of clients


class _NotUsedError(Exception):
    """The files can be read, and are not to be used. Its text says why."""


class _Context(ssl.SSLContext):
    """Makes each connection by another context: that of the moment.

    So a session is resumed by the context alone that began it: where authorities of clients are replaced, none is.
    """

    tls: "Tls"

    def wrap_bio(self, *arguments: Any, **more: Any) -> ssl.SSLObject:  # noqa: ANN401 - ssl's own
        return self.tls.current_context().wrap_bio(*arguments, **more)


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
        self._stamps = self._look()
        self._failed: float | None = None  # when the files could not be used, while they cannot
        self._said: set[str] = set()
        try:
            self._material = self._read()
        except (OSError, ssl.SSLError) as error:
            raise StartError(f"tls: {self._problem(error)}.") from error
        self._tell_of_validity()
        self._tell_of_disorder()
        self._given_to_grpc = self._material

    def http_context(self) -> ssl.SSLContext:
        """Give a context whose every handshake uses the files of that moment."""
        context = _Context(ssl.PROTOCOL_TLS_SERVER)
        context.tls = self
        return context

    def current_context(self) -> ssl.SSLContext:
        """Give the context of the files as they are now."""
        return self._current().context

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
            now = self._look()
            if now != self._stamps or (self._failed is not None and time.monotonic() - self._failed > _RETRY_SECONDS):
                self._stamps = now
                self._renew()
            self._tell_of_validity()
            return self._material

    def _renew(self) -> None:
        """Read the files anew; where they cannot be used, they are tried again, since time alone may mend that."""
        try:
            self._material = self._read_to_replace()
        except (OSError, ssl.SSLError, _NotUsedError) as error:
            self._failed = time.monotonic()
            self._say_once(f"{self._problem(error)}; the certificate that was read before stays in use")
            return
        self._failed = None
        self._said.clear()
        _log.info("tls: read %s anew", self._certificate)
        self._tell_of_disorder()

    def _read_to_replace(self) -> _Material:
        """Read the files, for what is in use to be replaced. Raises OSError, ssl.SSLError, _NotUsedError."""
        material = self._read()
        if self._look() != self._stamps:
            raise _NotUsedError(f"{self._certificate} and its key are being renewed")
        now = datetime.now(UTC)
        problem = material.certificates.problem(now)
        if problem and not self._material.certificates.problem(now):
            raise _NotUsedError(problem)
        return material

    def _tell_of_disorder(self) -> None:
        if self._material.certificates.are_in_disorder:
            _log.warning(
                "tls: the certificates in %s are in the wrong order: each must be followed by that of its authority",
                self._certificate,
            )

    def _tell_of_validity(self) -> None:
        """Log what has expired, or does so soon: each day anew, since the text has the number of days."""
        now = datetime.now(UTC)
        for certificates, remedy in (
            (self._material.certificates, "clients refuse it. Put a renewed one there"),
            (self._material.authorities, "clients that it signed for are refused. Put the one that follows it there"),
        ):
            if problem := certificates.problem(now):
                self._say_once(f"{problem}, and {remedy}: it is used from the next handshake on")
            if ending := certificates.ending(now):
                self._say_once(f"{ending}. Then {remedy}: it is used from the next handshake on", logging.WARNING)

    def _say_once(self, problem: str, level: int = logging.ERROR) -> None:
        """Log a problem, until another certificate is in use."""
        if problem not in self._said:
            self._said.add(problem)
            _log.log(level, "tls: %s", problem)

    def _look(self) -> Stamps:
        return stamps(*self._files())

    def _files(self) -> list[Path]:
        return [path for path in (self._certificate, self._key, self._client_ca) if path is not None]

    def _read(self) -> _Material:
        """Read the files. Raises OSError, ssl.SSLError where they do not fit together."""
        for path in self._files():
            if path.exists() and not path.is_file():
                raise OSError(errno.EINVAL, f"{path} is no file")
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
        configuration = grpc.ssl_server_certificate_configuration([pair], authorities)
        return _Material(
            context,
            configuration,
            Certificates(self._certificate, pair[1]),
            Certificates(self._client_ca or Path(), authorities or b"", are_authorities=True),
        )

    def _problem(self, error: OSError | ssl.SSLError | _NotUsedError) -> str:
        if isinstance(error, _NotUsedError):
            return str(error)
        files = " and ".join(map(str, self._files()))
        if isinstance(error, ssl.SSLError):
            match error.reason:
                case "KEY_VALUES_MISMATCH" if is_in_another_place(self._certificate, self._key):
                    return (
                        f"the certificates in {self._certificate} are in the wrong order: the server's own must be "
                        "the first, and each must be followed by that of its authority"
                    )
                case "KEY_VALUES_MISMATCH":
                    return f"the key {self._key} is not that of the certificate {self._certificate}"
                case "NO_CERTIFICATE_OR_CRL_FOUND":
                    return f"{self._client_ca} holds no certificate"
                case _:
                    reason = error.reason or error.strerror
                    return f"{files} cannot be read as a certificate and its unencrypted key, PEM ({reason})"
        return f"{files} cannot be read: {error.strerror}"
