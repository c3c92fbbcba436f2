"""Names in client certificates: the one of the kind that is meant, while the certificate is valid."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rbd_connect.auth.certificate_names import certificate_identity
from rbd_connect.auth.identity import NotVerifiedError
from rbd_connect.config.access import CertificateName

DAY = timedelta(days=1)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(*common: str, names: list[x509.GeneralName] | None = None, begins: timedelta = -DAY) -> bytes:
    """Make one, DER, valid for two days."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common])
    begin = datetime.now(UTC) + begins
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(0xABC)
        .not_valid_before(begin)
        .not_valid_after(begin + 2 * DAY)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


ALL = [
    x509.UniformResourceIdentifier("spiffe://example.com/backup"),
    x509.DNSName("backup.example.com"),
    x509.RFC822Name("backup@example.com"),
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("uri", "spiffe://example.com/backup"),
        ("dns", "backup.example.com"),
        ("email", "backup@example.com"),
        ("cn", "backup job"),
    ],
)
def test_the_name_of_the_kind_that_is_meant(kind: CertificateName, name: str) -> None:
    identity = certificate_identity(certificate("backup job", names=ALL), kind)
    assert (identity.subject, identity.credential) == (f"certificate:{name}", "certificate abc")


@pytest.mark.parametrize(
    ("der", "kind", "problem"),
    [
        (certificate("a", begins=-3 * DAY, names=ALL), "uri", "has expired"),
        (certificate("a", begins=DAY, names=ALL), "uri", "not valid yet"),
        (certificate("a"), "uri", "has 0 names"),
        (certificate("a", names=ALL[1:]), "uri", "has 0 names"),
        (certificate("a", names=[*ALL, x509.UniformResourceIdentifier("spiffe://b")]), "uri", "has 2 names"),
        (certificate("a", "b"), "cn", "has 2 names"),
        (certificate("a\nb"), "cn", "is no name"),
        (b"", "cn", "cannot be read"),
        (b"nonsense", "cn", "cannot be read"),
    ],
)
def test_what_is_no_identity(der: bytes, kind: CertificateName, problem: str) -> None:
    with pytest.raises(NotVerifiedError, match=problem):
        certificate_identity(der, kind)
