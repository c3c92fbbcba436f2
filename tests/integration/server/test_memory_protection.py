"""The memory of processes that hold keys: no other process of the same user reads it, and none leaves a core."""

import os
import subprocess
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, request
from support.server import run_server, workers_of
from support.tools import Tools, write_scope
from support.waiting import wait_until

# Root may read everything by this capability, so that it is taken from both sides.
AS_ANYBODY = ("setpriv", "--bounding-set=-sys_ptrace") if os.geteuid() == 0 else ()


def is_readable(process: int) -> bool:
    words = [*AS_ANYBODY, "dd", "count=0", f"if=/proc/{process}/mem"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def test_of_the_server_and_its_workers(cluster: DevCluster, tmp_path: Path) -> None:
    other = subprocess.Popen([*AS_ANYBODY, "sleep", "60"])
    try:
        wait_until(lambda: is_readable(other.pid))
    finally:
        other.kill()
        other.wait()
    with run_server(tmp_path, write_scope("test", cluster), prefix=AS_ANYBODY) as server:
        assert CALLS["connect"](server, request("rbd", "nowhere", "s")).reason == "IMAGE_NOT_FOUND"
        workers = workers_of(server)
        assert workers
        for process in (server.process.pid, *workers):
            assert not is_readable(process)
            limits = Path("/proc", str(process), "limits").read_text().splitlines()
            (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
            assert core == ["0", "0"]


@pytest.mark.parametrize("transport", CALLS)
def test_what_a_worker_asks_of_itself_still_works(
    cluster: DevCluster, tools: Tools, tmp_path: Path, transport: str
) -> None:
    """It asks librados' admin socket by /proc/self/fd, and has librados write its recent lines there."""
    tools.ceph("auth", "get-or-create", "client.without-osds", "mon", "profile rbd", "-o", str(tmp_path / "keyring"))
    scope = write_scope("test", cluster, ['client = "client.without-osds"', f'keyring = "{tmp_path / "keyring"}"'])
    (tmp_path / "keyring").chmod(0o600)
    with run_server(tmp_path, scope, prefix=AS_ANYBODY) as server:
        assert CALLS[transport](server, request("rbd", "nowhere", "s")).reason == "CEPH_CAPS_MISSING"
