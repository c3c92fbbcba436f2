"""The certificates of a file: from when until when they are valid, and whether they are in order."""

from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["Certificates", "is_in_another_place"]


class Certificates:
    """The server's own, and those that lead to its authority. Without any that can be read, there is no problem."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path
        self._all = _read(content)

    @property
    def are_in_disorder(self) -> bool:
        """Whether one is followed by another than its authority's, which is there."""
        subjects = {one.subject for one in self._all}
        return any(
            one.issuer != following.subject and one.issuer in subjects - {one.subject}
            for one, following in pairwise(self._all)
        )

    def problem(self, now: datetime) -> str:
        """Say which one has expired or is not valid yet; "" where none is."""
        for number, one in enumerate(self._all, 1):
            which = f"the certificate in {self._path}" if number == 1 else f"certificate {number} in {self._path}"
            if now < one.not_valid_before_utc:
                return f"{which} is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC"
            if now > one.not_valid_after_utc:
                return f"{which} has expired, at {one.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
        return ""


def is_in_another_place(certificates: Path, key: Path) -> bool:
    """Say whether a key is that of a certificate which is not the first."""
    try:
        public = load_pem_private_key(key.read_bytes(), password=None).public_key()
        return any(one.public_key() == public for one in _read(certificates.read_bytes())[1:])
    except (OSError, ValueError, TypeError):
        return False


def _read(content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        return []
