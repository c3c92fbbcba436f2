"""Who changed what: a line of JSON for each call that changes something, or was not let.

No token, key or payload stands there, and every character of what a caller sent that is no printable ASCII is escaped:
nobody can forge a line. The lines have a stream of their own, and a thread that writes them: neither a disk nor a
reader can stop a call.
"""

import errno
import json
import logging
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from rbd_connect.common.line_writer import Lines, write_all
from rbd_connect.model.errors import StartError

__all__ = ["Audit"]

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_STANDARD_OUTPUT = 1


class Audit:
    """Where the lines go: a file, which is opened anew where it was moved away, or standard output."""

    def __init__(self, file: Path | None) -> None:
        """Raises StartError where the file cannot be written, or is none: a device, a pipe, a link."""
        self._to: _To
        if file is None:
            self._to = _Output()
        else:
            try:
                self._to = _File(file)
            except OSError as error:
                raise StartError(f"audit.file: {file}: cannot be written: {error.strerror}.") from error
        self._lines = Lines("audit", self._write, self._dropped)

    def write(self, fields: Mapping[str, object]) -> None:
        """Have a line written soon. Where that fails, the log has it, and the call goes on."""
        self._lines.put(_line(fields))

    async def settled(self) -> None:
        """Wait a moment until all is written, so that usually a line is there before its call is answered."""
        await self._lines.settled()

    def close(self) -> None:
        lost = self._lines.close(_CLOSE_SECONDS)
        if lost:
            _log.error("%s: %d lines were not written", self._to.name, lost)
        self._to.close()

    def _dropped(self, number: int) -> str:
        _log.error("%s: %d lines were dropped, since it did not take them in time", self._to.name, number)
        return _line({"dropped": number})

    def _write(self, lines: Sequence[str]) -> None:
        try:
            self._to.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        except OSError as error:
            for line in lines:
                _log.error("%s: cannot be written: %s; %s", self._to.name, error.strerror, line)


def _line(fields: Mapping[str, object]) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, **fields}).replace("\x7f", r"\u007f")


class _To(Protocol):
    """Where lines can be written; ``name`` is the setting that says so."""

    name: str

    def write(self, content: bytes) -> None:
        """Raises OSError."""

    def close(self) -> None: ...


class _Output:
    name = "audit on standard output"

    def __init__(self) -> None:
        """Raises StartError where it was closed: its descriptor may be another file's by now."""
        if sys.__stdout__ is None:
            raise StartError("audit.file: there is no standard output; name a file with --audit-file.")

    def write(self, content: bytes) -> None:
        write_all(_STANDARD_OUTPUT, content)

    def close(self) -> None: ...


class _File:
    """A file that only its owner may read, and that is opened anew where it is another than it was."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.name = f"audit.file: {path}"
        self._path = path
        self._descriptor = _open(path)
        self._problem = ""

    def write(self, content: bytes) -> None:
        if self._was_moved():
            self._open_anew()
        size = os.fstat(self._descriptor).st_size
        try:
            write_all(self._descriptor, content)
        except OSError:
            # Part of it may be there: the next line must not begin in the middle of another.
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._descriptor)

    def _was_moved(self) -> bool:
        try:
            return not os.path.samestat(os.fstat(self._descriptor), self._path.lstat())
        except OSError:
            return True

    def _open_anew(self) -> None:
        """Raises OSError where that fails, and the file as it was has no name any more.

        Else it is written on where it was moved to.
        """
        try:
            descriptor = _open(self._path)
        except OSError as error:
            if not os.fstat(self._descriptor).st_nlink:
                raise
            if error.strerror != self._problem:
                _log.error("%s: cannot be written: %s; the file that was there is", self.name, error.strerror)
                self._problem = str(error.strerror)
            return
        os.close(self._descriptor)
        self._descriptor, self._problem = descriptor, ""


def _open(path: Path) -> int:
    """Open a regular file, made where there is none, and nothing else. Raises OSError."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise OSError(error.errno, _NO_FILE) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _NO_FILE)
    return descriptor


_NO_FILE = "it is a link, a pipe or a device, and must be a file"
