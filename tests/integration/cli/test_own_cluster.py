"""An own cluster: the steps of docs/quickstart.md as pasted, and keys that every user of the machine may open."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import create, request
from support.server import run_server, start_and_fail
from support.tools import Tools
from support.waiting import wait_until

QUICKSTART = (Path(__file__).parents[3] / "docs" / "quickstart.md").read_text(encoding="utf-8")
USER = "client.own"


@pytest.fixture
def keyring(cluster: DevCluster, tmp_path: Path) -> Path:
    """A keyring of a user of one's own, in a folder where librados does not look."""
    made = cluster.create_user(USER, mon="profile rbd", osd="profile rbd")
    path = tmp_path / "ceph" / "own.keyring"
    path.parent.mkdir()
    made.rename(path)
    return path


def by_keyring(conf: Path, keyring: Path) -> Path:
    """What a conf leads to: a keyring that it names, after one that is not there."""
    conf.write_text(f"{conf.read_text()}\n[{USER}]\nkeyring = {conf.parent}/none,{keyring}\n", encoding="utf-8")
    return keyring


def by_cluster_name(conf: Path, keyring: Path) -> Path:
    keyring.rename(keyring.parent / f"{conf.stem}.{USER}.keyring")
    return by_keyring(conf, keyring.parent / "$cluster.$name.keyring").parent / f"{conf.stem}.{USER}.keyring"


def by_keyfile(conf: Path, keyring: Path) -> Path:
    (key,) = re.findall(r"key = (\S+)", keyring.read_text())
    keyring.write_text(key)
    conf.write_text(f"{conf.read_text()}\n[{USER}]\nkeyfile = {keyring}\n", encoding="utf-8")
    return keyring


def by_key(conf: Path, keyring: Path) -> Path:
    (key,) = re.findall(r"key = (\S+)", keyring.read_text())
    conf.write_text(f"{conf.read_text()}\n[{USER}]\nkey = {key}\n", encoding="utf-8")
    conf.chmod(0o600)
    return conf


WAYS: dict[str, Callable[[Path, Path], Path]] = {
    "keyring": by_keyring,
    "cluster's name": by_cluster_name,
    "keyfile": by_keyfile,
    "key": by_key,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_everybody_may_open_stops_the_start(
    cluster: DevCluster, keyring: Path, tmp_path: Path, way: str
) -> None:
    """However librados finds it, as where the settings name it."""
    conf = tmp_path / "own.conf"
    shutil.copy(cluster.conf, conf)
    secret = WAYS[way](conf, keyring)
    scope = ("--scope", f"own={conf},client={USER}")
    secret.chmod(0o644)
    failed = start_and_fail("serve", *scope)
    assert failed.stderr == (
        f"Error: --scope: scopes.own: every user may open {secret}, where librados finds the key of {USER}; "
        f"say: chmod o= {secret}\n"
    )
    secret.chmod(0o640)
    with run_server(tmp_path, "", *scope) as server:
        assert create(server, request("rbd", "nowhere", "s", "own")).reason == "IMAGE_NOT_FOUND"
        assert "key" not in server.log.read_text()


def test_one_that_becomes_so_while_the_server_runs_is_not_used(
    cluster: DevCluster, keyring: Path, tmp_path: Path
) -> None:
    scope = ("--scope", f"own={cluster.conf},client={USER},keyring={keyring}")
    with run_server(tmp_path, "", *scope) as server:
        keyring.chmod(0o604)
        assert create(server, request("rbd", "nowhere", "s", "own")).reason == "CEPH_KEYRING_EXPOSED"
        assert (
            f"every user of this machine may open {keyring}, so it is not used. Run: chmod o= {keyring}"
            in server.log.read_text()
        )
        keyring.chmod(0o600)
        wait_until(lambda: create(server, request("rbd", "nowhere", "s", "own")).reason == "IMAGE_NOT_FOUND")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[global]\nmon_host = 127.0.0.1:1\nkeyring = /nowhere/k\n", "librados looks for it in /nowhere/k\n"),
        ("[global\n", "cannot be read as a ceph.conf, so calls fail: "),
    ],
    ids=["no key, no cluster", "no conf"],
)
def test_what_may_be_mended_later_is_warned_of(tmp_path: Path, text: str, told: str) -> None:
    """The start waits for no cluster."""
    conf = tmp_path / "own.conf"
    conf.write_text(text)
    with run_server(tmp_path, f'[scopes.own]\nconf = "own.conf"\nclient = "{USER}"\n') as server:
        log = server.log.read_text()
    assert f" WARNING rbd_connect.server.key_check: {tmp_path}/rbd-connect.toml, line 1: scopes.own: " in log
    assert told in log


def test_the_steps_of_the_quickstart_make_a_user_that_the_server_takes(
    cluster: DevCluster, tools: Tools, tmp_path: Path
) -> None:
    """As pasted, but for the folder /etc/ceph, and with the umask that is usual."""
    (steps,) = re.findall(r"## Create a Ceph user\n.*?```console\n(.*?)```", QUICKSTART, re.DOTALL)
    folder = tmp_path / "etc"
    folder.mkdir()
    shutil.copy(cluster.conf, folder / "ceph.conf")
    with (folder / "ceph.conf").open("a") as conf:
        conf.write(f"\n[client.rbd-connect]\nkeyring = {folder}/$cluster.$name.keyring\n")
    script = re.sub("^# ", "", steps, flags=re.MULTILINE).replace("/etc/ceph", str(folder))
    environment = {**os.environ, "CEPH_CONF": str(cluster.conf)}
    tools.ceph("auth", "rm", "client.rbd-connect")
    try:
        subprocess.run(["sh", "-euc", f"umask 022\n{script}"], env=environment, capture_output=True, check=True)
        with run_server(tmp_path, "", "--scope", f"own={folder}/ceph.conf") as server:
            assert create(server, request("rbd", "nowhere", "s", "own")).reason == "IMAGE_NOT_FOUND"
    finally:
        tools.ceph("auth", "rm", "client.rbd-connect")
        cluster.create_user("client.rbd-connect", mon="profile rbd", osd="profile rbd")
