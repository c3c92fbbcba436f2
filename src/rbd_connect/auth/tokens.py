"""Bearer tokens of our own: made here, shown once, and kept as hashes in a file, a line of JSON each.

A token is 256 bits from the system's random numbers, so its hash needs neither salt nor slowness: nobody can try them.
"""

import fcntl
import hmac
import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

from pydantic import AwareDatetime, StringConstraints, ValidationError

from rbd_connect.config.types import Section
from rbd_connect.model.errors import StartError

from .identity import Identity, NotVerifiedError

__all__ = ["PREFIX", "Entry", "Tokens", "add", "new_token", "read", "revoke"]

# By which scanners of secrets can tell it.
PREFIX = "rbdc_"

_ID_CHARACTERS = 12

# Without ":", which stands in the subjects of JWTs: no token's subject can be taken for one of theirs.
Subject = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]


class Entry(Section):
    """What is kept of a token: its SHA-256 in hexadecimal, whom it names, and until when, if not for ever."""

    subject: Subject
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    created: AwareDatetime
    expires: AwareDatetime | None = None

    @property
    def id(self) -> str:
        """By which a token is named where the token itself must not be: the beginning of its hash."""
        return self.sha256[:_ID_CHARACTERS]


def new_token(subject: str, lifetime: timedelta | None) -> tuple[str, Entry]:
    """Make a token. Give it, and what is to be kept of it. Raises StartError for what can be no subject."""
    token = PREFIX + secrets.token_urlsafe(32)
    created = datetime.now(UTC).replace(microsecond=0)
    try:
        entry = Entry(
            subject=subject,
            sha256=_hash(token),
            created=created,
            expires=None if lifetime is None else created + lifetime,
        )
    except ValidationError as error:
        raise StartError(
            f"{subject!r} can be no subject: write up to 128 letters, digits and . _ @ -, like backup-job"
        ) from error
    return token, entry


def read(path: Path) -> list[Entry]:
    """Read the entries of a file. Raises StartError, in one line that shows nothing of the file's content."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise StartError(f"{path}: there is no such file; `rbd-connect token new` makes one.") from error
    except OSError as error:
        raise StartError(f"{path}: cannot be read as text: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise StartError(f"{path}: cannot be read as text: it is not UTF-8. Restore it from a copy.") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError:
            raise StartError(
                f"{path}, line {number}: is no token's entry; `rbd-connect token new` writes them"
            ) from None
    return entries


def add(path: Path, entry: Entry) -> bool:
    """Add an entry to a file. Return whether the file was made, since there was none. Raises StartError."""
    is_new = not path.exists()
    with _locked(path) as locked:
        _write(locked, [*read(locked), entry])
    return is_new


def revoke(path: Path, token_id: str) -> Entry:
    """Remove the entry of a token from a file, and give it. Raises StartError where there is none, or not one alone."""
    read(path)  # where there is none, none is made
    with _locked(path) as locked:
        entries = read(locked)
        found = [entry for entry in entries if entry.id == token_id]
        if len(found) != 1:
            raise StartError(f"{path}: there is no token {token_id!r}; `rbd-connect token list` names them")
        _write(locked, [entry for entry in entries if entry is not found[0]])
        return found[0]


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Keep other commands from writing a file (``flock``), which is made where it is not there; give its real path.

    Raises StartError.
    """
    try:
        path = path.resolve()
        descriptor = _lock(path)
    except FileNotFoundError as error:
        raise StartError(f"{path}: there is no folder {path.parent}; make it, or name another file.") from error
    except (OSError, RuntimeError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or error
        raise StartError(f"{path}: cannot be locked: {problem}. Name another file, or change its mode.") from error
    try:
        yield path
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Lock the file that has a path, also where another replaces it meanwhile. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _write(path: Path, entries: Sequence[Entry]) -> None:
    """Replace a file as a whole, so that a server that reads it meanwhile sees the old one or the new one."""
    text = "".join(entry.model_dump_json(exclude_none=True) + "\n" for entry in entries)
    try:
        before = path.stat()
        with (
            NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file,
            ExitStack() as undo,
        ):
            undo.callback(Path(file.name).unlink)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.chown(file.name, before.st_uid, before.st_gid)
            Path(file.name).chmod(before.st_mode & 0o770)
            Path(file.name).replace(path)
            undo.pop_all()
    except OSError as error:
        raise StartError(f"{path}: cannot be written: {error.strerror}") from error


class Tokens:
    """The tokens that are valid."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = {entry.sha256: entry for entry in entries}

    @property
    def entries(self) -> Collection[Entry]:
        """What is kept of them."""
        return self._entries.values()

    def still_in(self, entries: Sequence[Entry]) -> "Tokens":
        """Give those that are among some entries, as they are there."""
        return Tokens([entry for entry in entries if entry.sha256 in self._entries])

    def identity(self, token: str) -> Identity:
        """Say whose a token is. Raises NotVerifiedError.

        What is compared is a hash, so that the time it takes says nothing of any token.
        """
        hashed = _hash(token)
        entry = self._entries.get(hashed)
        if entry is None or not hmac.compare_digest(entry.sha256, hashed):
            raise NotVerifiedError(f"there is no token {hashed[:_ID_CHARACTERS]}: it was revoked, or never made here")
        if entry.expires is not None and entry.expires <= datetime.now(UTC):
            raise NotVerifiedError(f"the token {entry.id} of {entry.subject} has expired")
        return Identity(subject=entry.subject, credential=f"token {entry.id}")


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
