"""Lines on their way to a descriptor or a file, written by a thread: a reader or a disk that has stalled stops nobody.

So many may wait; more are dropped, and counted.
"""

import asyncio
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

__all__ = ["Lines", "write_all"]

_MOST_WAITING = 8192
_MOST_AT_ONCE = 128
_SETTLE_SECONDS = 0.02

# Is given some lines, in their order. It raises nothing.
Write = Callable[[Sequence[str]], None]
# Gives the line that stands for so many that were dropped.
Dropped = Callable[[int], str]


class Lines:
    """Lines that wait to be written. From any thread, and from whatever the garbage collector calls."""

    def __init__(self, name: str, write: Write, dropped: Dropped, most_waiting: int = _MOST_WAITING) -> None:
        self._write = write
        self._line_of = dropped
        self._most_waiting = most_waiting
        self._waiting: deque[str] = deque()
        self._put = 0
        self._written = 0
        self._dropped = 0
        self._settling: list[tuple[int, asyncio.Future[None]]] = []
        self._is_behind = False
        self._is_closed = False
        # Its lock can be taken again by the thread that has it.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def put(self, line: str) -> None:
        """Have a line written soon, or drop it where too many wait."""
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                self._dropped += 1
                return
            self._tell_of_dropped()
            self._append(line)
            if self._thread.ident is None:
                self._start()
            self._changed.notify_all()

    async def settled(self) -> None:
        """Wait a moment until all that was put is written. Where that is in vain, nobody waits again until all is."""
        with self._changed:
            if self._is_behind or self._written == self._put:
                return
            settled = asyncio.get_running_loop().create_future()
            self._settling.append((self._put, settled))
        timer = asyncio.get_running_loop().call_later(_SETTLE_SECONDS, self._give_up, settled)
        try:
            await settled
        finally:
            timer.cancel()

    def flush(self, seconds: float) -> None:
        """Wait until all is written, for so long at the most."""
        with self._changed:
            self._changed.wait_for(self._is_idle, seconds)

    def close(self, seconds: float) -> int:
        """Write what waits, for so long at the most; say how many lines were not written."""
        with self._changed:
            self.flush(seconds)
            self._is_closed = True
            self._changed.notify_all()
            return self._dropped + len(self._waiting)

    def _is_idle(self) -> bool:
        return self._written == self._put and not self._dropped

    def _append(self, line: str) -> None:
        self._waiting.append(line)
        self._put += 1

    def _tell_of_dropped(self) -> None:
        """Put a line where others should stand."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._append(self._line_of(dropped))

    def _start(self) -> None:
        with suppress(RuntimeError):  # at the very end, no thread can be started
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                some = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MOST_AT_ONCE))]
                if not self._waiting:
                    self._tell_of_dropped()
            self._write(some)
            self._have_written(len(some))

    def _have_written(self, number: int) -> None:
        with self._changed:
            self._written += number
            ready = [future for put, future in self._settling if put <= self._written]
            self._settling = [one for one in self._settling if one[0] > self._written]
            self._is_behind = self._is_behind and bool(self._waiting)
            self._changed.notify_all()
        if ready:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                ready[0].get_loop().call_soon_threadsafe(_settle, ready)

    def _give_up(self, settled: "asyncio.Future[None]") -> None:
        self._is_behind = True
        _settle([settled])


def _settle(futures: "Sequence[asyncio.Future[None]]") -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def write_all(descriptor: int, content: bytes) -> None:
    """Write it all, also where the descriptor does not block, as whoever shares it may have set. Raises OSError."""
    while content:
        try:
            content = content[os.write(descriptor, content) :]
        except BlockingIOError:
            ready = select.poll()
            ready.register(descriptor, select.POLLOUT)
            ready.poll()
