"""Clusters for tests, benches and drills: with the pool rbd, and the user that the README tells of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rbd_connect.devcluster import DevCluster, Shape

__all__ = ["CAPS", "POOL", "QUICK", "SCOPE", "USER", "booted"]

SCOPE = "test"
POOL = "rbd"
USER = "client.rbd-connect"
QUICK = Shape(paxos_propose_interval=0.01)  # the monitor commits at once
CAPS: Mapping[str, str] = {"mon": "profile rbd", "osd": "profile rbd"}


@contextmanager
def booted(folder: Path, shape: Shape = QUICK) -> Iterator[DevCluster]:
    """Boot a cluster; stop it at the end."""
    with DevCluster(folder, shape) as cluster:
        cluster.create_pool(POOL)
        cluster.create_user(USER, **CAPS)
        yield cluster
