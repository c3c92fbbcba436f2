"""The log: a line for each record on standard error, the server's, its workers' and the libraries' alike.

Nobody can forge a line: whatever is not printable ASCII is escaped, line breaks too, also those of a traceback. No line
is long, whatever a caller sends. A thread writes the lines, so that a reader that has stalled stops nothing.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from .line_writer import Lines, write_all

if TYPE_CHECKING:
    from logging import _SysExcInfoType

__all__ = ["WORKER_LINE", "configure", "configure_worker", "flush", "printable", "settled", "shortened"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# What a worker writes goes to its server, which gives it the time: its level, the name of its logger, its text.
_WORKER_FORMAT = "<%(levelno)s>%(name)s: %(message)s"
WORKER_LINE = re.compile(r"<(?P<level>[1-5]0)>(?P<text>.*)", re.DOTALL)

# A field is what is said of one thing; a line may have many of them; a traceback is longer, and its end is worth most.
_MOST_OF_FIELD = 4096
_MOST_OF_LINE = 16 * 1024
_MOST_OF_TRACEBACK = 8 * 1024
_FLUSH_SECONDS = 1.0
_STANDARD_ERROR = 2

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    """Escape what is not printable ASCII, as Python does in a string."""
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shortened(text: str, most: int) -> str:
    """Give the beginning of a text that is too long, and say how long it is."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


class _Formatter(logging.Formatter):
    """The one formatter of all."""

    def format(self, record: logging.LogRecord) -> str:
        short = logging.makeLogRecord({**record.__dict__, "args": _shortened_arguments(record.args), "exc_text": None})
        return shortened(printable(super().format(short)), _MOST_OF_LINE)

    def formatException(self, ei: "_SysExcInfoType") -> str:  # noqa: N802 - logging's own name
        text = super().formatException(ei)
        if len(text) <= _MOST_OF_TRACEBACK:
            return text
        half = _MOST_OF_TRACEBACK // 2
        return f"{text[:half]}\n... ({len(text)} characters)\n{text[-half:]}"


_Arguments = tuple[object, ...] | Mapping[str, object] | None


def _shortened_arguments(arguments: _Arguments) -> _Arguments:
    if isinstance(arguments, Mapping):
        return {name: _shortened_argument(argument) for name, argument in arguments.items()}
    return tuple(map(_shortened_argument, arguments)) if arguments else arguments


def _shortened_argument(argument: object) -> object:
    """Cut a text, and whatever is told as one."""
    if isinstance(argument, int | float | None):
        return argument
    text = str(argument)
    return argument if len(text) <= _MOST_OF_FIELD else shortened(text, _MOST_OF_FIELD)


class _Handler(logging.Handler):
    """Standard error, by a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Formatter(_FORMAT))
        self._lines = Lines("log", self._write, self._dropped)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a record whose text does not fit its arguments
            line = f"a record of {printable(record.name)} cannot be written: {type(error).__name__}"
        self._lines.put(line)

    async def settled(self) -> None:
        await self._lines.settled()

    def flush(self) -> None:
        self._lines.flush(_FLUSH_SECONDS)

    def close(self) -> None:
        self._lines.close(0)
        super().close()

    def _dropped(self, number: int) -> str:
        text = f"{number} lines of the log were dropped, since standard error did not take them in time"
        return self.format(logging.LogRecord(__name__, logging.ERROR, "", 0, text, None, None))

    def _write(self, lines: Sequence[str]) -> None:
        if sys.__stderr__ is None:  # it was closed at the start, and its descriptor may be another file's
            return
        with suppress(OSError):  # nobody is there to be told
            write_all(_STANDARD_ERROR, "".join(f"{line}\n" for line in lines).encode())


_handler: _Handler | None = None


def configure() -> None:
    """Write what is of interest in production, a line each; also what Python would write there by itself."""
    global _handler  # noqa: PLW0603 - there is one log
    _handler = _Handler()
    logging.basicConfig(handlers=[_handler], level=logging.INFO)
    _take_all()


def configure_worker() -> None:
    """Write to standard error what the server is to log, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(_WORKER_FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    _take_all()


def flush() -> None:
    """Wait until all is written, for a second at the most."""
    if _handler is not None:
        _handler.flush()


async def settled() -> None:
    """Wait a moment until all is written, where that is possible."""
    if _handler is not None:
        await _handler.settled()


def _take_all() -> None:
    """Log warnings, and exceptions that end the program or a thread: their texts may come from a client."""
    logging.captureWarnings(capture=True)
    log = logging.getLogger(__name__)

    def end(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            log.critical("the program ends", exc_info=(kind, error, traceback))

    def end_thread(ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value is not None:
            info = (ended.exc_type, ended.exc_value, ended.exc_traceback)
            log.error("thread %s ends", ended.thread.name if ended.thread else "", exc_info=info)

    def ignore(ignored: "sys.UnraisableHookArgs") -> None:
        if ignored.exc_value is not None:
            info = (ignored.exc_type, ignored.exc_value, ignored.exc_traceback)
            log.error("%s", ignored.err_msg or "an exception is ignored", exc_info=info)

    sys.excepthook, threading.excepthook, sys.unraisablehook = end, end_thread, ignore
