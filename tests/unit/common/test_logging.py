"""The log: one line a record, of printable ASCII and no great length, whatever stands in it and whoever wrote it."""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.common import logging as log
from rbd_connect.common.logging import printable
from rbd_connect.dispatch.worker.output import Output

FORGERY = (
    'x\n2026-11-25 00:00:00,000 INFO rbd_connect.rpc.pipeline: forged\r\n{"subject": "mallory"}\x1b[2J\u2028\u0085\x7f'
)


class _Kept(log._Handler):  # noqa: SLF001 - what it writes
    """Keeps what would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(self.format(record))


@pytest.fixture
def kept() -> Iterator[list[str]]:
    """All that is logged, as it would be written."""
    handler = _Kept()
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler.kept
    root.removeHandler(handler)


def is_a_line(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) < 20_000


def formatted(message: object, *arguments: object, **more: object) -> str:
    record = logging.LogRecord("name", logging.INFO, "", 0, message, arguments, more.get("exc_info"))  # type: ignore[arg-type]
    return log._Formatter(log._FORMAT).format(record)  # noqa: SLF001 - the one formatter


@given(st.text())
def test_every_text_is_printable_ascii(text: str) -> None:
    assert is_a_line(formatted(text.replace("%", "%%")))
    assert is_a_line(formatted("%s", text))
    assert is_a_line(formatted("%(a)s", {"a": text}))
    assert is_a_line(formatted("%r", text))
    if text.isascii() and text.isprintable():
        assert printable(text) == text


@pytest.mark.parametrize("text", [FORGERY, "\udcff", "\x00", "a" * (1 << 20), "\U0001f600" * 100_000, "\n" * 65536])
def test_every_argument_is_too(text: str) -> None:
    for argument in (text, RuntimeError(text), [text], {"a": text}, type("A", (), {"__str__": lambda _: text})()):
        assert is_a_line(formatted("before %s after", argument))
    assert formatted("%s after", text).endswith(" after") or len(text) > 10_000


def test_a_traceback_is_one_line_with_its_beginning_and_its_end() -> None:
    def deep(depth: int) -> None:
        if not depth:
            raise RuntimeError(FORGERY)
        try:
            deep(depth - 1)
        except RuntimeError as error:
            raise ValueError(FORGERY) from error

    try:
        deep(100)
    except ValueError as error:
        line = formatted("failed", exc_info=(type(error), error, error.__traceback__))
    assert is_a_line(line)
    assert "failed\\nTraceback (most recent call last):\\n" in line
    assert line.endswith("\\x7f")


def test_a_record_that_does_not_fit_is_a_line_too(kept: list[str]) -> None:
    handler = log._Handler()  # noqa: SLF001 - what it writes
    lines: list[str] = []
    handler._lines.put = lines.append  # type: ignore[method-assign,assignment] # noqa: SLF001 - as above
    handler.emit(logging.LogRecord(FORGERY, logging.INFO, "", 0, "%d", (FORGERY,), None))
    assert is_a_line(lines[0])
    assert not kept


def test_librarys_texts_are_data(kept: list[str]) -> None:
    for name in ("uvicorn.error", "asyncio", "grpc._cython.cygrpc", "jwt"):
        logging.getLogger(name).error("it failed: %s", FORGERY)
        logging.getLogger(name).error(FORGERY)
    assert len(kept) == 8
    assert all(map(is_a_line, kept))


def test_what_python_would_write_by_itself_is_logged(kept: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    log._take_all()  # noqa: SLF001 - as it is done at the start
    try:
        sys.excepthook(RuntimeError, RuntimeError(FORGERY), None)

        def fail() -> None:
            raise RuntimeError(FORGERY)

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        logging._showwarning(UserWarning(FORGERY), UserWarning, "a.py", 1)  # type: ignore[attr-defined] # noqa: SLF001 - by which warnings come there
    finally:
        logging.captureWarnings(capture=False)
    assert len(kept) == 3
    assert all(map(is_a_line, kept))


def test_what_a_worker_writes_is_data(kept: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """Its own records, and what librados and librbd write there by themselves."""

    async def write() -> None:
        output = Output("prod")
        output.data_received(b"<30>rbd_connect.ceph: of image a\\n is li")
        output.data_received(b"sted\n2026-11-25T00:00:00.000+0000 7f -1 librbd: no image x\x1b[2J\xff\n\n<99>y\n<10")
        output.data_received(b">z" + b"a" * (1 << 20))
        output.connection_lost(None)
        await output.ended()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(write())
    levels = [record.levelno for record in caplog.records if record.name == "rbd_connect.dispatch.worker.output"]
    texts = [record.getMessage() for record in caplog.records if record.name == "rbd_connect.dispatch.worker.output"]
    assert levels == [logging.WARNING, logging.WARNING, logging.WARNING, logging.DEBUG]
    assert texts[0] == "scope prod: rbd_connect.ceph: of image a\\n is listed"
    assert texts[1].startswith("scope prod: librados: 2026-11-25T00:00:00.000+0000 7f -1 librbd: no image x")
    assert all(map(is_a_line, kept))
