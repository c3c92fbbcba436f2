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
import trustme

from support.access import Tokens, grant
from support.server import COMMAND
from support.waiting import wait_until

ROOT = Path(__file__).parents[3]


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

    def pasted(self, start: str, **replaced: str) -> str:
        """What comes back from the call that begins so, pasted as it was printed, but for some words."""
        (call,) = [paragraph for paragraph in self.text.split("\n\n") if paragraph.startswith(start)]
        for word, path in replaced.items():
            call = call.replace(word.replace("_", "."), path)
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For a cluster that is kept for the next test."""
    return tmp_path_factory.mktemp("calls") / "cluster"


class TestItsCalls:
    """Whatever the settings say, they succeed as they are pasted."""

    def check(self, one: Dev, **replaced: str) -> None:
        one.wait_for("Ctrl-C stops everything.")
        rbd = ["rbd", "--conf", str(one.folder / "ceph.conf")]
        for start, name in STARTS.items():
            answer = json.loads(one.pasted(start, **replaced))
            assert answer.get("name") == name, answer
            subprocess.run([*rbd, "snap", "rm", "--no-progress", f"rbd/demo@{name}"], capture_output=True, check=True)
        audit = (one.folder / "audit.log").read_text().splitlines()[-len(STARTS) :]
        assert [json.loads(line)["snapshot"] for line in audit] == list(STARTS.values())
        assert f"Each change is a line of {one.folder}/audit.log." in one.text
        assert "request_id" not in one.text.partition("Ctrl-C stops everything.")[0]

    def test_with_a_token_of_their_own(self, tmp_path: Path, folder: Path) -> None:
        """No file of the user's is written; and the port is that which was chosen."""
        tokens = Tokens(tmp_path)
        mine = tokens.new("alice")
        before = tokens.path.read_bytes()
        config = tmp_path / "settings.toml"
        config.write_text('auth.tokens = "tokens"\n' + grant("alice", ["*"], scopes="dev"))
        flags = ("--listen-http=0.0.0.0:0", "--listen-grpc=[::]:0", "--folder", str(folder), "--keep")
        with dev(tmp_path, "--config", str(config), *flags) as one:
            self.check(one)
            (token,) = set(re.findall(r"rbdc_[\w-]+", one.text))
            assert token != mine
            assert (folder / "tokens").stat().st_mode & 0o777 == 0o600
            assert "The token is one of rbd-connect-dev, valid for a day" in one.text
            with_mine = one.text.replace(token, mine).replace('"first"', '"fourth"')
            (call,) = [paragraph for paragraph in with_mine.split("\n\n") if paragraph.startswith("curl ")]
            done = subprocess.run(call, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
            assert json.loads(done.stdout)["name"] == "fourth"
            assert one.end() == 0
        assert tokens.path.read_bytes() == before
        assert not (folder / "tokens").exists()

    def test_by_tls_and_with_a_certificate(self, tmp_path: Path, folder: Path) -> None:
        """The server's is for another name than that of this machine."""
        authority = trustme.CA()
        issued, client = authority.issue_cert("rbd.example.com"), authority.issue_cert("me@example.com")
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
        client.cert_chain_pems[0].write_to_path(tmp_path / "mine.pem")
        for name, made in (("server.key", issued), ("mine.key", client)):
            (tmp_path / name).touch(0o600)
            made.private_key_pem.write_to_path(tmp_path / name)
        config = tmp_path / "settings.toml"
        config.write_text(
            'tls = { certificate = "server.pem", key = "server.key", client_ca = "ca.pem" }\n'
            'auth.certificate_name = "email"\n'
        )
        flags = ("--folder", str(folder), "--keep", "--listen-http=127.0.0.1:0", "--listen-grpc=127.0.0.1:0")
        with dev(tmp_path, "--config", str(config), *flags) as one:
            mine = {"client_pem": str(tmp_path / "mine.pem"), "client_key": str(tmp_path / "mine.key")}
            self.check(one, **mine)
            assert "Clients must show a certificate (tls.client_ca, on http and grpc)" in one.text
            assert one.end() == 0

    def test_by_sockets_in_the_file_system(self, tmp_path: Path, folder: Path) -> None:
        flags = [f"--listen-{name}=unix:{tmp_path}/{name}.sock" for name in ("http", "grpc")]
        with dev(tmp_path, "--folder", str(folder), "--keep", *flags) as one:
            self.check(one)
            assert one.end() == 0


STARTS = {"curl": "first", ".venv/bin/buf curl --schema": "second", ".venv/bin/buf curl --protocol grpc": "third"}


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
