"""Snapshots as they are listed while another client makes and removes some."""

import subprocess
import sys

import rbd

from rbd_connect.ceph.snapshots.info import list_snapshots
from support.images import NewImage
from support.tools import Tools

_MAKES_AND_REMOVES = """
import rados, rbd, sys
conf, name = sys.argv[1:]
with rados.Rados(conffile=conf, name="client.admin") as connection, connection.open_ioctx("rbd") as ioctx:
    for number in range(40):
        with rbd.Image(ioctx, name) as image:
            image.create_snap(f"passing-{number}")
            image.remove_snap(f"passing-{number}")
"""


def test_one_that_is_removed_meanwhile_does_not_hide_the_others(tools: Tools, new_image: NewImage) -> None:
    name = new_image()
    tools.rbd("snap", "create", "--no-progress", f"rbd/{name}@kept")
    # This handle takes no exclusive lock: who has it may be taken for dead by the other, who wants it, and blocklisted.
    with tools.ioctx() as ioctx, rbd.Image(ioctx, name) as image:
        words = [sys.executable, "-c", _MAKES_AND_REMOVES, str(tools.cluster.conf), name]
        with subprocess.Popen(words) as other:
            while other.poll() is None:
                assert "kept" in {listed.name for listed in list_snapshots(ioctx, image)}
        assert other.returncode == 0
