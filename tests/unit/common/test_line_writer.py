"""Lines that a thread writes: in their order, and whoever has them written waits for nobody."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence

import pytest

from rbd_connect.common.line_writer import Lines, write_all
from support.waiting import wait_until


class _Written:
    """Keeps what is written; a reader that stalls while ``goes_on`` is not set."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.began = threading.Event()

    def write(self, lines: Sequence[str]) -> None:
        self.began.set()
        self.goes_on.wait()
        self.lines += lines


def test_lines_come_in_their_order_from_any_thread() -> None:
    written = _Written()
    lines = Lines("test", written.write, "{} dropped".format)

    def put(name: str) -> None:
        for number in range(1000):
            lines.put(f"{name}{number}")

    threads = [threading.Thread(target=put, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines.close(10) == 0
    for name in "abc":
        assert [line for line in written.lines if line[0] == name] == [f"{name}{number}" for number in range(1000)]


def test_nobody_waits_for_a_reader_that_has_stalled_and_what_is_dropped_is_counted() -> None:
    written = _Written()
    written.goes_on.clear()
    lines = Lines("test", written.write, "{} dropped".format, most_waiting=10)
    lines.put("first")
    assert written.began.wait(10)
    asyncio.run(lines.settled())  # in vain, and not again
    started = time.monotonic()
    for number in range(100):
        lines.put(str(number))
        asyncio.run(lines.settled())
    assert time.monotonic() - started < 0.5
    assert lines.close(0.01) == 100
    written.goes_on.set()


def test_what_was_dropped_is_told_when_it_goes_on() -> None:
    written = _Written()
    written.goes_on.clear()
    lines = Lines("test", written.write, "{} dropped".format, most_waiting=10)
    lines.put("first")
    assert written.began.wait(10)
    for number in range(25):
        lines.put(str(number))
    written.goes_on.set()
    wait_until(lambda: len(written.lines) == 12)
    lines.put("last")
    assert lines.close(10) == 0
    assert written.lines == ["first", *map(str, range(10)), "15 dropped", "last"]


def test_once_settled_all_is_written() -> None:
    written = _Written()
    lines = Lines("test", written.write, "{} dropped".format)

    async def put() -> None:
        for number in range(200):
            lines.put(str(number))
            await lines.settled()
            assert written.lines[-1] == str(number)

    asyncio.run(put())


def test_many_can_settle_at_once_while_others_put_more() -> None:
    written = _Written()
    lines = Lines("test", written.write, "{} dropped".format)

    async def put(name: str) -> None:
        for number in range(50):
            lines.put(f"{name}{number}")
            await lines.settled()
            assert f"{name}{number}" in written.lines

    async def put_all() -> None:
        await asyncio.gather(*map(put, "abcdefgh"))

    asyncio.run(put_all())


def test_whoever_settles_may_go_away() -> None:
    written = _Written()
    written.goes_on.clear()
    lines = Lines("test", written.write, "{} dropped".format)

    async def go_away() -> None:
        lines.put("line")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lines.settled(), 0.001)

    asyncio.run(go_away())
    written.goes_on.set()
    assert lines.close(10) == 0


def test_a_line_can_be_put_while_another_is() -> None:
    """The garbage collector can call what logs, at any moment and on any thread."""
    written = _Written()
    lines = Lines("test", written.write, "{} dropped".format)
    with lines._changed:  # noqa: SLF001 - held by this thread
        lines.put("inner")
    assert lines.close(10) == 0
    assert written.lines == ["inner"]


def test_nothing_is_lost_where_the_descriptor_does_not_block() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    content = bytes(range(256)) * 2048
    writer = threading.Thread(target=write_all, args=(writing, content))
    writer.start()
    read = b""
    while len(read) < len(content):
        read += os.read(reading, 65536)
    writer.join()
    os.close(reading)
    os.close(writing)
    assert read == content
