"""A server, started as a user starts it: `rbd-connect serve`, in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from .secrets import check_processes

COMMAND = str(Path(sys.prefix) / "bin" / "rbd-connect")
PROCEDURE = "otterscale.storage.v1.StorageService/CreateImageSnapshot"

_RECORD = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8},[0-9]{3} [A-Z]+ [\w.]+: [ -~]*")
_FREE_PORTS = ("--listen-http", "127.0.0.1:0", "--listen-grpc", "127.0.0.1:0")


@dataclass(frozen=True)
class Server:
    """A server that is ready. ``log`` is the file with what it prints on standard error, ``config`` its settings."""

    address: str
    grpc_address: str
    process: "subprocess.Popen[str]"
    log: Path
    config: Path
    audit: Path

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def method_url(self) -> str:
        return f"{self.url}/{PROCEDURE}"


@contextmanager
def run_server(
    folder: Path,
    settings: str,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    ends_with: int = 0,
    prefix: Sequence[str] = (),
    with_audit_file: bool = True,
    stderr: int | None = None,
) -> Iterator[Server]:
    """Start a server with a settings file, wait until it says that it serves; stop it, and see it end as it should.

    ``prefix`` are words before its command, which run it somewhere else. ``stderr`` is where its log goes in place of a
    file.
    """
    config = folder / "rbd-connect.toml"
    audit = folder / "audit.log"
    config.write_text(settings, encoding="utf-8")
    log = folder / "server.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [
                *prefix,
                "setpriv",
                "--pdeathsig",
                "KILL",
                COMMAND,
                "serve",
                "--config",
                str(config),
                *((f"--audit-file={audit}",) if with_audit_file else ()),
                *_FREE_PORTS,
                *flags,
            ],
            stdout=subprocess.PIPE,
            stderr=sink if stderr is None else stderr,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        match = re.fullmatch(r"serving .* on (https?)://(\S+), and gRPC on (\S+)\n", ready)
        assert match, f"{ready!r}\n{log.read_text()}"
        yield Server(match[2], match[3], process, log, config, audit)
        if process.poll() is None:
            check_processes(process.pid, *_children(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == ends_with, log.read_text()
        check_log(log)
    finally:
        process.kill()
        process.communicate()


def check_log(log: Path) -> None:
    """Fail where a log has anything but records, a line each, of printable ASCII."""
    for line in log.read_bytes().decode("latin-1").split("\n"):
        assert not line or _RECORD.fullmatch(line), f"no record: {line!r}"


def workers_of(server: Server) -> list[int]:
    """The process ids of a server's workers."""
    return _children(server.process.pid)


def _children(process: int) -> list[int]:
    children = Path("/proc", str(process), "task", str(process), "children").read_text()
    return [int(child) for child in children.split()]


def descriptors_of(process: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path("/proc", str(process), "fd").iterdir()))


@dataclass(frozen=True)
class Held:
    """What a server and its workers hold: threads, descriptors, and memory, now and at its peak."""

    threads: int
    descriptors: int
    resident_bytes: int
    peak_bytes: int

    @classmethod
    def by(cls, server: Server) -> "Held":
        """Look at it. Raises OSError where a worker ends meanwhile."""
        held = [cls._by_process(process) for process in (server.process.pid, *workers_of(server))]
        return cls(*(sum(column) for column in zip(*map(astuple, held), strict=True)))

    @classmethod
    def _by_process(cls, process: int) -> "Held":
        text = Path("/proc", str(process), "status").read_text()
        status = {name: int(number) for name, number in re.findall(r"(\w+):\s+(\d+)", text)}
        if "VmRSS" not in status:
            raise ProcessLookupError(f"process {process} has ended")
        return cls(status["Threads"], descriptors_of(process), status["VmRSS"] * 1024, status["VmHWM"] * 1024)


def phases(server: Server, word: str) -> dict[str, float]:
    """The milliseconds of each phase of a call, by the one line of the server's log that quotes a word."""
    (line,) = [line for line in server.log.read_text().splitlines() if f'"{word}"' in line]
    match = re.search(r"ms \((.*?)\)", line)
    assert match
    return {name: float(spent) for name, _, spent in (part.rpartition(" ") for part in match[1].split(", "))}


def is_ready(server: Server) -> bool:
    """Say whether it reaches its clusters."""
    with suppress(HTTPError):
        return bool(urlopen(f"{server.url}/readyz").status == 200)  # noqa: S310 - no other scheme
    return False


def start_and_fail(*words: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `rbd-connect` with settings that must not let it start."""
    return subprocess.run(
        [COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def lines(text: str) -> Sequence[str]:
    return text.strip().split("\n")
