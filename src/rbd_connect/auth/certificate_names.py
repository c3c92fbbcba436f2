"""Names in client certificates (RFC 5280) as identities. TLS checked that an authority of clients signed them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

from rbd_connect.config.access import CERTIFICATE_ISSUER, CertificateName

from .identity import Identity, NotVerifiedError

__all__ = ["certificate_identity"]

_MOST_CHARACTERS = 255
_KEPT = 1024

_ALTERNATIVE: Mapping[CertificateName, Callable[[x509.SubjectAlternativeName], list[str]]] = {
    "dns": lambda names: names.get_values_for_type(x509.DNSName),
    "email": lambda names: names.get_values_for_type(x509.RFC822Name),
    "uri": lambda names: names.get_values_for_type(x509.UniformResourceIdentifier),
}


def certificate_identity(der: bytes, kind: CertificateName) -> Identity:
    """Say whom a client's certificate names: ``certificate:NAME``. Raises NotVerifiedError."""
    certificate, names = _read(der, kind)
    now = datetime.now(UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise NotVerifiedError("the client's certificate has expired, or is not valid yet")
    if len(names) != 1:
        raise NotVerifiedError(f"the client's certificate has {len(names)} names of the kind {kind}")
    (name,) = names
    if not 0 < len(name) <= _MOST_CHARACTERS or not name.isprintable():
        raise NotVerifiedError(f"the name of the kind {kind} in the client's certificate is no name")
    return Identity(
        subject=f"{CERTIFICATE_ISSUER}:{name}", credential=f"certificate {certificate.serial_number:x}", issuer=None
    )


@lru_cache(_KEPT)
def _read(der: bytes, kind: CertificateName) -> tuple[x509.Certificate, list[str]]:
    """Raises NotVerifiedError."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        if kind == "cn":
            return certificate, [
                str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            ]
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return certificate, _ALTERNATIVE[kind](names)
    except x509.ExtensionNotFound:
        return certificate, []
    except ValueError as error:
        raise NotVerifiedError("the client's certificate cannot be read") from error
