"""Clusters for tests, benches and drills: with the pool rbd, and the user of docs/quickstart.md."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rbd_connect.config.cluster import ClusterConfig
from rbd_connect.devcluster import DevCluster, Shape

__all__ = ["CAPS", "POOL", "QUICK", "SCOPE", "USER", "booted", "config_of"]

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


def config_of(
    cluster: DevCluster, scope: str = SCOPE, *, conf: Path | None = None, client: str = USER
) -> ClusterConfig:
    """Say how a server would connect to a cluster."""
    return ClusterConfig(
        scope=scope,
        conf=conf or cluster.conf,
        client=client,
        keyring=None,
        connect_timeout=10,
        mon_timeout=60,
        osd_timeout=60,
    )
