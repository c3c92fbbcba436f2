"""Clusters for tests, benches and drills: with the pool rbd, and the user that the README tells of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rbd_connect.devcluster import DevCluster

__all__ = ["CAPS", "POOL", "USER", "booted"]

POOL = "rbd"
USER = "client.rbd-connect"
CAPS: Mapping[str, str] = {"mon": "profile rbd", "osd": "profile rbd"}


@contextmanager
def booted(folder: Path, *, paxos_propose_interval: float = 0.01, **options: Any) -> Iterator[DevCluster]:  # noqa: ANN401 - DevCluster's own
    """Boot a cluster whose monitor commits at once, unless it is told otherwise; stop it at the end."""
    with DevCluster(folder, paxos_propose_interval=paxos_propose_interval, **options) as cluster:
        cluster.create_pool(POOL)
        cluster.create_user(USER, **CAPS)
        yield cluster
