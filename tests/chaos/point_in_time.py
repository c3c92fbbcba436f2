"""Whether snapshots of an image with a writer are points in time: by the numbers that it wrote, and when."""

import signal
import subprocess
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rbd

from support.tools import Tools
from support.waiting import wait_until

from . import writer
from .traffic import Record
from .writer import NUMBER, SLOT_BYTES, SLOTS

__all__ = ["Writer", "problems", "writing"]


@dataclass(frozen=True)
class Writer:
    """A writer, in a process of its own."""

    process: "subprocess.Popen[bytes]"
    image: str
    log: Path

    def send_signal(self, number: int) -> None:
        """Send a signal: SIGSTOP freezes the writer, SIGCONT lets it go on."""
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def times(self, kind: str) -> list[float]:
        """Give when each number was issued (i) or acknowledged (a), from 1 on."""
        lines = self.log.read_text().split("\n")
        return [float(line.split()[2]) for line in lines[:-1] if line.startswith(kind)]


@contextmanager
def writing(tools: Tools, image: str, folder: Path) -> Iterator[Writer]:
    """Have an image written to; return when some writes were acknowledged."""
    pool, _, name = image.partition("/")
    log = folder / f"{name}.writes"
    words = ["setpriv", "--pdeathsig", "KILL", sys.executable, writer.__file__]
    process = subprocess.Popen([*words, str(tools.cluster.conf), pool, name, str(log)])
    started = Writer(process, image, log)
    try:
        wait_until(lambda: log.exists() and len(started.times("a")) > SLOTS)
        yield started
    finally:
        process.send_signal(signal.SIGCONT)
        started.kill()


def problems(tools: Tools, by: Writer, records: Iterable[Record]) -> Iterator[str]:
    """Say where a snapshot lacks what was acknowledged before its create was asked for, has what was issued after the
    answer, or has some of what was written between and not what was written before that.
    """
    issued, acknowledged = by.times("i"), by.times("a")
    pool, _, name = by.image.partition("/")
    for record in records:
        if record.image == by.image and record.is_ok:
            with tools.ioctx(pool) as ioctx, rbd.Image(ioctx, name, snapshot=record.snapshot, read_only=True) as image:
                found = [NUMBER.unpack(image.read(slot * SLOT_BYTES, NUMBER.size))[0] for slot in range(SLOTS)]
            last = max(found)
            least, most = bisect_left(acknowledged, record.answer.asked), bisect_right(issued, record.answer.came)
            if not least <= last <= most:
                yield f"{name}@{record.snapshot} has writes up to {last}, not between {least} and {most}"
            if found != _after(last):
                yield f"{name}@{record.snapshot} is no point in time: {found}"


def _after(last: int) -> list[int]:
    """Give what the slots hold after number ``last``."""
    return [max(last - (last - slot) % SLOTS, 0) for slot in range(SLOTS)]
