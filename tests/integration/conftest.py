"""One real cluster and one real server for each process of the run; an image of its own for each test."""

import itertools
from collections.abc import Iterator

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.cluster import booted
from support.images import MIB, NewImage
from support.secrets import check_files
from support.server import Server, run_server
from support.tools import Tools, write_scope


@pytest.fixture(scope="session", autouse=True)
def _secrets_stay_secret(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search, when all is over, whatever was written for the tokens and keys of the run."""
    yield
    folder = tmp_path_factory.getbasetemp()
    if any(folder.rglob("server.log")):
        check_files(folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A cluster whose monitor commits at once."""
    with booted(tmp_path_factory.mktemp("ceph")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def tools(cluster: DevCluster) -> Tools:
    return Tools(cluster)


@pytest.fixture
def short_watches(tools: Tools) -> Iterator[None]:
    """Let Ceph take a client that has gone for alive for one second, not for thirty."""
    tools.ceph("config", "set", "osd", "osd_client_watch_timeout", "1")
    yield
    tools.ceph("config", "rm", "osd", "osd_client_watch_timeout")


@pytest.fixture(scope="session")
def server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of that cluster as scope test, on a free port."""
    settings = write_scope("test", cluster)
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server


@pytest.fixture(scope="session")
def new_image(tools: Tools) -> NewImage:
    """Make an image of 16 MiB with the default features and no data; give its name."""
    numbers = itertools.count(1)

    def make(size: int = 16 * MIB, *, pool: str = "rbd", namespace: str = "", written: int = 0) -> str:
        name = f"image-{next(numbers)}"
        with tools.ioctx(pool, namespace) as ioctx:
            rbd.RBD().create(ioctx, name, size)
            if written:
                with rbd.Image(ioctx, name) as image:
                    image.write(b"x" * written, 0)
        return name

    return make
