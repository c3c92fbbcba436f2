"""Who changed what: a line of JSON for each call that changes something, or was not let.

No token, key or payload stands there, and every character of what a caller sent that is no printable ASCII is escaped:
nobody can forge a line.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path

from .errors import StartError

__all__ = ["Audit"]

_log = logging.getLogger(__name__)


class Audit:
    """Where the lines go: a file, which is opened anew where it was moved away, or standard error."""

    def __init__(self, file: Path | None) -> None:
        """Raises StartError where the file cannot be written."""
        if file is None:
            self._handler: logging.Handler = logging.StreamHandler(sys.stderr)
            return
        try:
            self._handler = _File(file)
        except OSError as error:
            raise StartError(f"audit.file: {file}: cannot be written: {error.strerror}.") from error

    def write(self, fields: Mapping[str, object]) -> None:
        """Write a line. Where that fails, the log has it, and the call goes on."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": now, **fields})
        try:
            self._handler.handle(logging.LogRecord(__name__, logging.INFO, "", 0, line, None, None))
        except OSError as error:  # it cannot be opened anew
            _log.error("audit.file: cannot be written: %s; %s", error, line)

    def close(self) -> None:
        try:
            self._handler.close()
        except OSError as error:
            _log.error("audit.file: cannot be written: %s", error)


class _File(WatchedFileHandler):
    """A file that only its owner may read, and that is opened anew where it is another than it was."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="ascii")

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return open(descriptor, "a", encoding="ascii")  # noqa: PTH123 - of a descriptor

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        _log.error("audit.file: %s: cannot be written: %s; %s", self.baseFilename, sys.exc_info()[1], record.msg)
