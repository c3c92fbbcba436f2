"""A cluster that cannot be connected to: the cause that is told is the one to mend, whatever librados says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from rbd_connect.dispatch.worker.connection_log import ConnectionLog
from support.clients import create, request
from support.server import run_server
from support.waiting import wait_until

USER = "client.connects"

# Connects, without the right of root to open what is closed to its owner, and prints what came of it.
_CONNECT = """
import json, sys
from pathlib import Path
from rbd_connect.ceph.cluster.connection import Cluster
from rbd_connect.ceph.errnos import NotConnectedError
from rbd_connect.config.cluster import ClusterConfig

conf, client, keyring = sys.argv[1:]
path = Path(keyring) if keyring else None
timeouts = {"connect_timeout": 2, "mon_timeout": 5, "osd_timeout": 5}
cluster = Cluster(ClusterConfig(scope="test", conf=Path(conf), client=client, keyring=path, **timeouts))
try:
    cluster.probe()
except NotConnectedError as error:
    print(json.dumps([error.code.value, error.reason, error.message, error.cause]))
else:
    print(json.dumps(None))
cluster.close()
"""


@dataclass(frozen=True)
class Files:
    """What a connection is made by, which each case spoils in its way."""

    folder: Path
    cluster: DevCluster

    def conf(self, *options: str) -> Path:
        """A conf as it comes with a cluster: where it is, and no more."""
        path = self.folder / "test.conf"
        path.write_text("\n".join(["[global]", *options, ""]), encoding="utf-8")
        return path

    @property
    def good(self) -> Path:
        return self.conf(self.hosts)

    @property
    def hosts(self) -> str:
        lines = self.cluster.conf.read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith("mon host"))

    def keyring(self, content: str | None = None, mode: int = 0o600) -> Path:
        path = self.folder / "test.keyring"
        if content is None:
            content = (self.cluster.folder / f"{USER}.keyring").read_text(encoding="utf-8")
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)
        return path

    def nothing(self) -> Path:
        return self.folder / "nothing"


def _of_another_key() -> str:
    return f"[{USER}]\n\tkey = AQBTxEdnAAAAABAAb7eI3J9xqlvqk9P7c8lG5g==\n"


def _closed(path: Path) -> Path:
    path.chmod(0)
    return path


def _mentioning(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# What is spoilt: the conf and the keyring; the reason; and what the cause must name, and what it says to do.
Case = tuple[Callable[[Files], tuple[Path, Path | None]], str, list[str]]
CASES: dict[str, Case] = {
    "no conf": (
        lambda f: (f.nothing(), f.keyring()),
        "CEPH_CONF_UNREADABLE",
        ["/nothing", "No such file", "scopes.test.conf"],
    ),
    "a conf that is closed": (
        lambda f: (_closed(f.good), f.keyring()),
        "CEPH_CONF_UNREADABLE",
        ["/test.conf", "Permission denied", "readable"],
    ),
    "a folder for a conf": (lambda f: (f.folder, f.keyring()), "CEPH_CONF_UNREADABLE", ["Is a directory"]),
    "a conf that is none": (
        lambda f: (_mentioning(f.good, "[ = \n]["), f.keyring()),
        "CEPH_CONF_UNREADABLE",
        ["/test.conf", "is not a Ceph configuration file"],
    ),
    "a wrong option in the conf": (
        lambda f: (f.conf(f.hosts, "auth client required = nonsense"), f.keyring()),
        "CEPH_CONF_UNREADABLE",
        ["/test.conf", "option"],
    ),
    "no monitor": (
        lambda f: (f.conf(), f.keyring()),
        "CEPH_MONITORS_UNKNOWN",
        ["/test.conf", "names no monitor", "mon_host"],
    ),
    "no monitor and no keyring": (
        lambda f: (f.conf(), f.nothing()),
        "CEPH_MONITORS_UNKNOWN",
        ["names no monitor", "mon_host", f"{USER} has no keyring either"],
    ),
    "an empty conf": (
        lambda f: (_mentioning(f.good, ""), None),
        "CEPH_MONITORS_UNKNOWN",
        ["names no monitor", "mon_host"],
    ),
    "a monitor without an address": (
        lambda f: (f.conf("mon host = no-such-host.invalid"), f.keyring()),
        "CEPH_CONF_UNREADABLE",
        ["mon_host", "no-such-host.invalid"],
    ),
    "nobody at the address": (
        lambda f: (f.conf("mon host = 127.0.0.1:1"), f.keyring()),
        "CONNECT_FAILED",
        ["127.0.0.1:1", "for 2 s", "status"],
    ),
    "monitors in sections": (
        lambda f: (_mentioning(f.good, "[mon.a]\nmon addr = 127.0.0.1:1\n"), f.keyring()),
        "CONNECT_FAILED",
        ["for 2 s"],
    ),
    "no keyring": (
        lambda f: (f.good, f.nothing()),
        "CEPH_KEYRING_MISSING",
        ["/nothing", "ceph auth get", "scopes.test.keyring"],
    ),
    "no keyring where librados looks": (
        lambda f: (f.good, None),
        "CEPH_KEYRING_MISSING",
        ["/etc/ceph/", "ceph auth get"],
    ),
    "no keyring, and cephx demanded": (
        lambda f: (f.conf(f.hosts, "auth client required = cephx"), f.nothing()),
        "CEPH_KEYRING_MISSING",
        ["/nothing"],
    ),
    "a keyring that is closed": (
        lambda f: (f.good, _closed(f.keyring())),
        "CEPH_KEYRING_UNREADABLE",
        ["/test.keyring", "Permission denied"],
    ),
    "a keyring that is open to all": (
        lambda f: (f.good, f.keyring(mode=0o644)),
        "CEPH_KEYRING_EXPOSED",
        ["/test.keyring", "chmod o="],
    ),
    "a keyring of another user": (
        lambda f: (f.good, f.keyring(_of_another_key().replace(USER, "client.other"))),
        "CEPH_KEYRING_MISSING",
        ["/test.keyring", f"no key for {USER}", "scopes.test.client"],
    ),
    "an empty keyring": (
        lambda f: (f.good, f.keyring("")),
        "CEPH_KEYRING_MISSING",
        ["/test.keyring", f"no key for {USER}"],
    ),
    "a keyring that is none": (
        lambda f: (f.good, f.keyring("hello there\n")),
        "CEPH_KEYRING_UNREADABLE",
        ["/test.keyring", "is not a keyring"],
    ),
    "a key that is none": (
        lambda f: (f.good, f.keyring(f"[{USER}]\n\tkey = !!!\n")),
        "CEPH_KEYRING_UNREADABLE",
        ["/test.keyring", "is not a keyring"],
    ),
    "a folder for a keyring": (lambda f: (f.good, f.folder), "CEPH_KEYRING_UNREADABLE", ["is not a keyring"]),
    "another key": (
        lambda f: (f.good, f.keyring(_of_another_key())),
        "CEPH_AUTH_REJECTED",
        ["refuse", "/test.keyring", f"ceph auth get {USER}"],
    ),
}


@pytest.fixture
def files(cluster: DevCluster, tmp_path: Path) -> Files:
    cluster.create_user(USER, mon="profile rbd", osd="profile rbd")
    return Files(tmp_path, cluster)


def connected(conf: Path, keyring: Path | None) -> list[str] | None:
    words = [sys.executable, "-c", _CONNECT, str(conf), USER, str(keyring or "")]
    if not os.geteuid():
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    told: list[str] | None = json.loads(done.stdout.splitlines()[-1])  # librados writes there, too
    return told


def test_with_a_conf_and_a_keyring_it_is_connected_to(files: Files) -> None:
    assert connected(files.good, files.keyring()) is None


@pytest.mark.parametrize("case", CASES)
def test_the_first_cause_is_told_with_its_file_and_what_to_do(files: Files, case: str) -> None:
    spoil, reason, words = CASES[case]
    told = connected(*spoil(files))
    assert told is not None
    code, found, message, cause = told
    assert found == reason
    assert code in {"unavailable", "permission_denied"}
    missing = [word for word in words if word not in cause]
    assert not missing, cause
    assert str(files.folder) not in message
    assert USER not in message


def test_the_log_has_it_once_and_each_call_its_reason(files: Files) -> None:
    keyring = files.keyring()
    keyring.write_text(_of_another_key(), encoding="utf-8")
    settings = f'[scopes.test]\nconf = "{files.good}"\nclient = "{USER}"\nkeyring = "{keyring}"\n'
    with run_server(files.folder, settings) as server:
        body = request("rbd", "no-image", "snapshot")
        for _ in range(5):
            assert create(server, body).reason == "CEPH_AUTH_REJECTED"
        lines = server.log.read_text().splitlines()
        (line,) = [line for line in lines if "cannot connect" in line]
        assert (
            f" ERROR rbd_connect.dispatch.worker.connection_log: scope test: cannot connect to Ceph as {USER}: " in line
        )
        assert str(keyring) in line
        assert len([line for line in lines if "permission_denied CEPH_AUTH_REJECTED in " in line]) == 5
        keyring.write_text((files.cluster.folder / f"{USER}.keyring").read_text(encoding="utf-8"), encoding="utf-8")
        wait_until(lambda: create(server, body).reason == "IMAGE_NOT_FOUND")
        assert f"scope test: connected to Ceph as {USER}" in server.log.read_text()


def test_a_cause_is_told_again_only_after_another_or_a_success(caplog: pytest.LogCaptureFixture) -> None:
    log = ConnectionLog("test", USER)
    told: list[str] = []

    def new_lines() -> int:
        before = len(told)
        told[:] = [record.message for record in caplog.records]
        return len(told) - before

    caplog.set_level("INFO")
    log.succeeded()
    assert new_lines() == 0
    for _ in range(3):
        log.failed("the one")
    assert new_lines() == 1
    log.failed("the other")
    log.failed("the one")
    assert new_lines() == 2
    log.succeeded()
    log.succeeded()
    log.failed("the one", although="it has changed")
    assert new_lines() == 2
    assert told[-1].endswith("anew (it has changed; the old connection is used on): the one")
