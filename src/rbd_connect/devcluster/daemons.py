"""Processes: Ceph's tools, and its daemons, which end with the process that started them."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from rbd_connect.errors import StartError

__all__ = ["Daemon", "DevClusterError", "run"]

_TAIL_BYTES = 2000


class DevClusterError(StartError):
    """The throwaway cluster cannot be started. Its text says why, and where there is more."""


def run(*command: str | os.PathLike[str]) -> None:
    """Run one of Ceph's tools to its end. Raises DevClusterError with what it printed, where it fails."""
    words = [os.fspath(word) for word in command]
    try:
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError as error:
        raise DevClusterError(
            f"{words[0]} is not installed. On Debian: apt-get install ceph-mon ceph-mgr ceph-osd ceph-common"
        ) from error
    except subprocess.CalledProcessError as error:
        raise DevClusterError(
            f"`{' '.join(words)}` failed:\n{error.stderr.decode(errors='replace')[-_TAIL_BYTES:]}"
        ) from error


class Daemon:
    """A Ceph daemon in the foreground, in a session of its own, so that a Ctrl-C at the terminal is ours to handle.

    It is killed by the kernel when the thread that started it is gone, however that ends (``PR_SET_PDEATHSIG``).
    """

    def __init__(self, command: Sequence[str | os.PathLike[str]], output: Path) -> None:
        self.name = os.fspath(command[0])
        self._output = output
        with output.open("ab") as sink:
            self._process = self._start([os.fspath(word) for word in command], sink)

    def check(self) -> None:
        """Raise DevClusterError where the daemon has ended by itself."""
        if self._process.poll() is not None:
            tail = self._output.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
            raise DevClusterError(f"{self.name} ended with status {self._process.returncode}:\n{tail}")

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

    @staticmethod
    def _start(words: list[str], sink: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *words],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd="/",  # where a daemon runs; Debian 13's OSD looks for its classes in a path relative to it
            start_new_session=True,
        )
