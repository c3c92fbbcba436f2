"""Processes: Ceph's tools, and its daemons, which end with the process that started them."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from rbd_connect.model.errors import StartError

__all__ = ["Daemon", "DevClusterError", "deferred_signals", "run"]

_TAIL_BYTES = 2000

# The kernel's promise (PR_SET_PDEATHSIG) holds from when it is given: a parent that was gone before is looked for.
_TIED_TO_PARENT = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("sh", "-c", '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"', "sh"),
)


class DevClusterError(StartError):
    """The throwaway cluster cannot be started. Its text says why, and where there is more."""


def run(*command: str | os.PathLike[str]) -> None:
    """Run one of Ceph's tools to its end. Raises DevClusterError with what it printed, where it fails."""
    with TemporaryFile() as output, ExitStack() as undo:
        with deferred_signals():
            process = _start(command, output)
            undo.callback(process.wait)
            undo.callback(process.kill)
        status = process.wait()
        if status:
            output.seek(0)
            words = " ".join(os.fspath(word) for word in command)
            raise DevClusterError(f"`{words}` ended with status {status}:\n{_tail(output.read())}")


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Handle SIGINT and SIGTERM at the end, so that none comes between a process's start and the note made of it."""
    pending: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs signal handlers in the main thread alone
        return
    numbers = (int(signal.SIGINT), int(signal.SIGTERM))
    previous = {number: signal.signal(number, lambda came, _frame: pending.append(came)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for number in pending:
            signal.raise_signal(number)


class Daemon:
    """A Ceph daemon in the foreground."""

    def __init__(self, command: Sequence[str | os.PathLike[str]], output: Path) -> None:
        self.name = os.fspath(command[0])
        self._output = output
        with output.open("ab") as sink:
            self._process = _start(command, sink)

    def check(self) -> None:
        """Raise DevClusterError where the daemon has ended by itself."""
        if self._process.poll() is not None:
            tail = _tail(self._output.read_bytes())
            raise DevClusterError(f"{self.name} ended with status {self._process.returncode}:\n{tail}")

    @property
    def has_crashed(self) -> bool:
        """Whether the daemon has ended by a segmentation fault."""
        return self._process.poll() == -signal.SIGSEGV

    def send_signal(self, number: int) -> None:
        """Send a signal: SIGSTOP freezes the daemon, SIGCONT lets it go on."""
        self._process.send_signal(number)

    def stop(self, *, gracefully: bool, timeout: float = 10) -> None:
        """Stop the daemon with SIGTERM; with SIGKILL at once, or after ``timeout`` seconds. Return when it is gone."""
        if gracefully:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        self._process.kill()
        self._process.wait()


def _start(command: Sequence[str | os.PathLike[str]], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that is killed by the kernel when the thread that started it is gone, however that ends.

    It is in a session of its own, so that a Ctrl-C at the terminal is ours to handle; and in /, where a daemon runs:
    Debian 13's OSD looks for its classes in a path relative to it.
    """
    if shutil.which(command[0]) is None:
        raise DevClusterError(
            f"{command[0]} is not installed. On Debian: apt-get install ceph-mon ceph-mgr ceph-osd ceph-common"
        )
    return subprocess.Popen(
        [*_TIED_TO_PARENT, str(os.getpid()), *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        start_new_session=True,
    )


def _tail(output: bytes) -> str:
    return output[-_TAIL_BYTES:].decode(errors="replace")
