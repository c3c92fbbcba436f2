"""Changes that take long: nobody else comes in between, and the log says how far they are."""

import logging
import re
import time
from pathlib import Path

import pytest
import rados
import rbd

from rbd_connect.ceph.cluster.connection import Cluster
from rbd_connect.ceph.locks import image_lock
from rbd_connect.ceph.opening.open_image import changing
from rbd_connect.ceph.opening.touched_pools import Needs
from rbd_connect.ceph.operations import ClusterOperations
from rbd_connect.common import progress_log as progress_logged
from rbd_connect.devcluster import DevCluster
from rbd_connect.model.names import ImageSpec, SnapshotSpec
from support.cluster import config_of
from support.images import MIB, NewImage
from support.tools import Tools

_SIZE = 16 * MIB


@pytest.fixture
def many_objects(tools: Tools) -> str:
    """An image of many small objects, all of which were written since its snapshot "first"."""
    name = "of-4096-objects"
    with tools.ioctx() as ioctx:
        rbd.RBD().create(ioctx, name, _SIZE, order=12)
        with rbd.Image(ioctx, name) as image:
            image.create_snap("first")
            image.write(b"x" * _SIZE, 0)
    return name


# The binding asks for an image's time in a way that Python has come to dislike.
@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
@pytest.mark.parametrize("change", ["rollback", "resize"])
def test_the_log_says_how_far_one_is(
    cluster: DevCluster,
    tools: Tools,
    many_objects: str,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(progress_logged, "_EVERY_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    place = {"scope": "test", "pool": "rbd", "namespace": "", "image": many_objects}
    connected = Cluster(config_of(cluster))
    if change == "rollback":
        ClusterOperations(connected).roll_back(SnapshotSpec(**place, snapshot="first"))
    else:
        ClusterOperations(connected).resize_image(ImageSpec(**place), MIB, 0)
    connected.close()
    told = [
        int(share) for share in re.findall(rf"{change} of rbd/{many_objects}.* goes on .*, (\d+)% done", caplog.text)
    ]
    assert len(set(told)) > 3, caplog.text
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 100
    tools.delete(f"rbd/{many_objects}")


def test_others_are_kept_off_for_longer_than_a_lease(
    cluster: DevCluster, tools: Tools, new_image: NewImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_lock, "_LEASE_SECONDS", 1)
    monkeypatch.setattr(image_lock, "_RENEWAL_SECONDS", 0.2)
    name = new_image()
    connected = Cluster(config_of(cluster))

    def is_free(ioctx: rados.Ioctx, header: str) -> bool:
        try:
            ioctx.lock_exclusive(header, image_lock.LOCK_NAME, "another", "", 1, 0)
        except rados.ObjectBusy:
            return False
        return True

    with tools.ioctx() as admin, connected.pool("rbd") as pool:
        with changing(pool, ImageSpec(scope="test", pool="rbd", namespace="", image=name), Needs()) as (image, lock):
            header = f"rbd_header.{image.id()}"
            until = time.monotonic() + 3
            while time.monotonic() < until:
                assert not is_free(admin, header)
            lock.let_go()
        assert is_free(admin, header)
    connected.close()


def test_a_configured_admin_socket_is_where_it_was_configured(cluster: DevCluster, tmp_path: Path) -> None:
    asked_for = tmp_path / "client.asok"
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"{cluster.conf.read_text()}\n[client]\nadmin_socket = {asked_for}\n")
    connected = Cluster(config_of(cluster, conf=conf))
    connected.probe()
    assert asked_for.is_socket()
    connected.close()
    assert not asked_for.exists()
