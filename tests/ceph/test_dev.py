"""`rbd-connect dev`, as a newcomer runs it: from the first line to the last, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.server import COMMAND
from support.tools import wait_until

ROOT = Path(__file__).parents[2]


class Dev:
    """A running `rbd-connect dev`, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        return self._output.read_text()

    @property
    def folder(self) -> Path:
        match = re.match(r"Booting a Ceph cluster in (\S+)\n", self.text)
        assert match, self.text
        return Path(match[1])

    @property
    def address(self) -> str:
        match = re.search(r"http://([^/]+)/otterscale", self.text)
        assert match, self.text
        return match[1]

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.text or self.process.poll() is not None)
        assert words in self.text, self.text

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def pasted(self, start: str) -> str:
        """What comes back from the call that begins so, pasted as it was printed."""
        (call,) = [paragraph for paragraph in self.text.split("\n\n") if paragraph.startswith(start)]
        return subprocess.run(call, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S602


@contextmanager
def dev(tmp_path: Path, *flags: str) -> Iterator[Dev]:
    output = tmp_path / f"dev-{len(list(tmp_path.iterdir()))}.out"
    with output.open("w") as sink:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", COMMAND, "dev", *flags],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield Dev(process, output)
    finally:
        process.terminate()
        process.wait(60)


def daemons(folder: Path) -> list[str]:
    """The command lines of the processes that have to do with a cluster's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return [command for command in found if str(folder) in command]


@pytest.mark.timeout(240)
def test_a_newcomers_way_and_two_at_once(tmp_path: Path) -> None:
    with dev(tmp_path) as first, dev(tmp_path) as second:
        for one in (first, second):
            one.wait_for("Ctrl-C stops everything.")
        assert first.address != second.address
        for one in (first, second):
            by_curl = json.loads(one.pasted("curl"))
            assert (by_curl["name"], by_curl["usedBytes"]) == ("first", str(32 << 20))
            assert json.loads(one.pasted(".venv/bin/buf curl --schema"))["name"] == "second"
            assert json.loads(one.pasted(".venv/bin/buf curl --protocol grpc"))["name"] == "third"
            assert "demo@second" in one.pasted("rbd --conf")
        for one, number in ((first, signal.SIGINT), (second, signal.SIGTERM)):
            folder = one.folder
            assert daemons(folder)
            assert one.end(number) == 0
            assert one.text.endswith(f"Stopping the cluster\nRemoved {folder}\n")
            assert (daemons(folder), folder.exists()) == ([], False)


@pytest.mark.timeout(240)
def test_a_kept_cluster_comes_back_as_it_was_left(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with dev(tmp_path, "--folder", str(folder), "--keep", "--listen-http", "127.0.0.1:0") as one:
        one.wait_for("Ctrl-C stops everything.")
        one.pasted("curl")
        failed = subprocess.run([COMMAND, "dev", "--folder", str(folder)], capture_output=True, text=True, check=False)
        assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
        assert "another `rbd-connect dev` uses" in failed.stderr
        assert one.end() == 0
        assert f"rbd-connect dev --folder {folder}" in one.text
    with dev(tmp_path, "--folder", str(folder), "--listen-http", "127.0.0.1:0") as two:
        two.wait_for("Ctrl-C stops everything.")
        assert "demo@first" in two.pasted("rbd --conf")
        assert two.end() == 0
    assert (daemons(folder), (folder / "fsid").exists()) == ([], True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_boot_that_is_broken_off_leaves_nothing(tmp_path: Path, number: int) -> None:
    with dev(tmp_path) as one:
        one.wait_for("making an OSD")
        folder = one.folder
        assert one.end(number) == 128 + number
        assert "Traceback" not in one.text
        assert (daemons(folder), folder.exists()) == ([], False)


def test_daemons_die_with_whoever_started_them(tmp_path: Path) -> None:
    with dev(tmp_path) as one:
        one.wait_for("making an OSD")
        folder = one.folder
        one.end(signal.SIGKILL)
        wait_until(lambda: not daemons(folder))


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    failed = subprocess.run([COMMAND, "dev", "--folder", str(tmp_path)], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr == (
        f"Error: {tmp_path} is not empty, and holds no cluster. Name a new folder with --folder, or an empty one.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
