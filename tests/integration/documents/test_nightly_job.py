"""The script of docs/nightly-job.md, run as it stands there."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.server import Server, run_server
from support.tools import Tools, write_scope

PAGE = (Path(__file__).parents[3] / "docs" / "nightly-job.md").read_text(encoding="utf-8")
IMAGES = ["night-1", "night-2"]


@pytest.fixture
def server(cluster: DevCluster, tools: Tools, tmp_path: Path) -> Iterator[Server]:
    with tools.ioctx() as ioctx:
        for image in IMAGES:
            rbd.RBD().create(ioctx, image, 1 << 20)
    tools.rbd("snap", "create", "--no-progress", "night-1@nightly-2026-11-10")
    tools.rbd("snap", "create", "--no-progress", "night-1@nightly-2026-11-11")
    tools.rbd("snap", "create", "--no-progress", "night-1@manual-2000-01-01")
    with run_server(tmp_path, write_scope("dev", cluster)) as server:
        yield server
    for image in IMAGES:
        tools.rbd("snap", "purge", "--no-progress", image)
        tools.rbd("rm", "--no-progress", image)


def nightly(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (text,) = re.findall(r"^```bash\n(#!.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    environment = {**os.environ, "SERVER": f"http://{server.address}", "SCOPE": "dev", "DAY": "2026-11-25"}
    command = ["bash", "-c", text, "nightly", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_snapshot_of_each_image_is_created_once(server: Server) -> None:
    first = nightly(server, "snapshot", "rbd/night-1", "rbd/night-2")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "rbd/night-1@nightly-2026-11-25: created\nrbd/night-2@nightly-2026-11-25: created\n"
    again = nightly(server, "snapshot", "rbd/night-1")
    assert (again.returncode, again.stdout) == (0, "rbd/night-1@nightly-2026-11-25: exists\n")


def test_an_image_that_fails_is_reported_and_the_others_go_on(server: Server) -> None:
    done = nightly(server, "snapshot", "rbd/nowhere", "rbd/night-2")
    assert (done.returncode, done.stdout) == (1, "rbd/night-2@nightly-2026-11-25: created\n")
    assert done.stderr.startswith("rbd/nowhere@nightly-2026-11-25: failed: not_found IMAGE_NOT_FOUND ")


def test_old_snapshots_are_deleted_once_tonights_is_listed(server: Server, tools: Tools) -> None:
    before = nightly(server, "prune", "rbd/night-1")
    assert before.stdout == ""
    assert before.stderr == "rbd/night-1: not pruned: the list does not show nightly-2026-11-25\n"
    nightly(server, "snapshot", "rbd/night-1")
    after = nightly(server, "prune", "rbd/night-1")
    assert (after.returncode, after.stdout) == (0, "rbd/night-1@nightly-2026-11-10: deleted\n")
    listed = tools.rbd("snap", "ls", "night-1")
    assert "nightly-2026-11-11" in listed
    assert "manual-2000-01-01" in listed
    assert "nightly-2026-11-10" not in listed
