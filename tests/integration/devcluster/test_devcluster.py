"""DevCluster: what a test may do to a cluster of its own."""

import signal
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster, DevClusterError, Shape
from support.clients import create, request
from support.cluster import booted
from support.server import run_server
from support.tools import Tools, write_scope
from support.waiting import wait_until


@pytest.mark.timeout(240)
def test_an_osd_without_rbds_class_is_unimplemented(tmp_path: Path) -> None:
    """The one thing of Ceph's that a cluster may lack: the OSD's class rbd. A new boot takes up what was set."""
    folder = tmp_path / "ceph"
    with booted(folder) as cluster:
        Tools(cluster).rbd("create", "--size", "4M", "rbd/image")
        cluster.command("config set", who="osd", name="osd_class_dir", value="/nowhere")
    with DevCluster(folder) as cluster:
        cluster.wait_until_clean()
        with run_server(tmp_path, write_scope("test", cluster)) as server:
            outcome = create(server, request("rbd", "image", "first"))
        assert (outcome.code, outcome.reason) == ("unimplemented", "NOT_SUPPORTED")


def test_a_daemon_that_cannot_start_is_told_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "ceph"
    with pytest.raises(DevClusterError, match="ceph-osd"), DevCluster(folder, Shape(osd_bytes=1)):
        pass


def test_a_manager_that_crashes_is_started_anew(tmp_path: Path) -> None:
    with DevCluster(tmp_path / "ceph") as cluster:
        crashed = cluster.daemons["mgr.x"]
        crashed.send_signal(signal.SIGSEGV)
        wait_until(lambda: crashed.has_crashed)
        cluster.create_pool("rbd")
        assert cluster.daemons["mgr.x"] is not crashed
