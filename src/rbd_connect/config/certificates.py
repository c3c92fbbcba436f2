"""The certificates of a file: from when until when they are valid, and whether they are in order."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rbd_connect.model.errors import quoted

__all__ = ["SOON", "Certificates", "is_in_another_place"]

SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class _Validity:
    """What a certificate is called in messages, and from when until when it is valid."""

    name: str
    begins: datetime
    ends: datetime


class Certificates:
    """Those of a file. Without any that can be read, there is no problem."""

    def __init__(self, path: Path, content: bytes, *, are_authorities: bool = False) -> None:
        """``are_authorities`` says whether each stands for itself, or all but the first lead to its authority."""
        self._all = _read(content)
        self._validities = [
            _Validity(
                f"the authority {quoted(one.subject.rfc4514_string())} in {path}"
                if are_authorities
                else _name_in_chain(path, number),
                one.not_valid_before_utc,
                one.not_valid_after_utc,
            )
            for number, one in enumerate(self._all, 1)
        ]

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
        for one in self._validities:
            if now < one.begins:
                return f"{one.name} is not valid before {one.begins:%Y-%m-%d %H:%M:%S} UTC"
            if now > one.ends:
                return f"{one.name} has expired, at {one.ends:%Y-%m-%d %H:%M:%S} UTC"
        return ""

    def ending(self, now: datetime) -> str:
        """Say which one ends within 14 days; "" where none does."""
        for one in self._validities:
            if timedelta(0) <= one.ends - now < SOON:
                days = (one.ends - now).days
                when = f"in {days} days" if days > 1 else "within two days"
                return f"{one.name} expires {when}, at {one.ends:%Y-%m-%d %H:%M:%S} UTC"
        return ""


def is_in_another_place(certificates: Path, key: Path) -> bool:
    """Say whether a key is that of a certificate which is not the first."""
    try:
        public = load_pem_private_key(key.read_bytes(), password=None).public_key()
        return any(one.public_key() == public for one in _read(certificates.read_bytes())[1:])
    except (OSError, ValueError, TypeError):
        return False


def _name_in_chain(path: Path, number: int) -> str:
    return f"the certificate in {path}" if number == 1 else f"certificate {number} in {path}"


def _read(content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        return []
