"""What the rows measure on: two clusters, images on them, servers of them."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import rados
import rbd

from rbd_connect.devcluster import DevCluster, Shape
from support.cluster import POOL, USER, booted
from support.server import Server, run_server
from support.tools import Tools, write_scope

__all__ = ["Bench", "Site", "clusters"]


_IMAGE_BYTES = 4 << 30
_numbers = count(1)


@dataclass(frozen=True)
class Site:
    """A cluster, and a connection to it as the server has one. ``interval`` is its paxos_propose_interval, seconds."""

    cluster: DevCluster
    interval: float
    connection: rados.Rados

    @property
    def tools(self) -> Tools:
        return Tools(self.cluster)

    def new_images(self, number: int, size: int = _IMAGE_BYTES, features: int | None = None) -> list[str]:
        """Make images without data; give their names."""
        names = [f"image-{next(_numbers)}" for _ in range(number)]
        with self.connection.open_ioctx(POOL) as ioctx, ThreadPoolExecutor(8) as pool:
            make = partial(rbd.RBD().create, ioctx, size=size, features=features)
            list(pool.map(make, names))
        return names


@dataclass(frozen=True)
class Bench:
    """Clusters: one whose monitor commits at once, one as Ceph is by default."""

    folder: Path
    fast: Site
    default: Site

    @property
    def sites(self) -> Sequence[Site]:
        return (self.fast, self.default)

    @contextmanager
    def server(self, *flags: str, **scopes: Site) -> Iterator[Server]:
        """Start a server of some scopes."""
        settings = "".join(write_scope(name, site.cluster) for name, site in scopes.items())
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            run_server(Path(folder), settings, *flags) as server,
        ):
            yield server

    @contextmanager
    def fresh_site(self) -> Iterator[Site]:
        """Boot a cluster that holds nothing yet, for what would be in the others' way; its monitor commits at once."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, ExitStack() as stack:
            yield _site(stack, Path(folder), self.fast.interval)


@contextmanager
def clusters() -> Iterator[Bench]:
    """Boot the clusters; stop them at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fast, default = (_site(stack, folder / name, interval) for name, interval in (("fast", 0.01), ("default", 1.0)))
        yield Bench(folder, fast, default)


def _site(stack: ExitStack, folder: Path, interval: float) -> Site:
    cluster = stack.enter_context(booted(folder, Shape(paxos_propose_interval=interval)))
    connection = stack.enter_context(rados.Rados(conffile=str(cluster.conf), name=USER))
    return Site(cluster, interval, connection)
