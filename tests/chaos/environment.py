"""Where scenarios run: a cluster, its server, images to make snapshots of; and how long faults last there."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import rbd

from rbd_connect.devcluster import DevCluster, Shape
from support.cluster import POOL, QUICK, SCOPE, USER, booted
from support.server import Server, run_server
from support.tools import Tools, write_scope

from .network import HERE, THERE, Network, two_hosts
from .traffic import Traffic

__all__ = ["FULL", "SHORT", "Environment", "Pace", "Trial", "running_environment", "staged_on_two_hosts"]

# No scenario takes away what it wrote.
_ROOMY = replace(QUICK, osd_bytes=16 << 30)

_IMAGE_BYTES = 16 << 20

_WRITTEN = b"x" * (5 << 20)

_numbers = count(1)


@dataclass(frozen=True)
class Pace:
    """Seconds that things last: what is well, what is frozen, what is down.

    And on how many images calls are made, and how often a connection is replaced.
    """

    calm: float
    frozen: float
    down: float
    images: int = 16
    replacements: int = 1000


FULL = Pace(calm=2.0, frozen=20.0, down=5.0)
SHORT = Pace(calm=0.5, frozen=3.0, down=1.0, images=8, replacements=20)


@dataclass(frozen=True)
class Environment:
    """A cluster whose monitor commits at once, and a server that is its user's only client."""

    cluster: DevCluster
    server: Server
    folder: Path
    pace: Pace
    link: Network | None = None

    @property
    def network(self) -> Network:
        """What is between the server and the cluster, where they are on two hosts."""
        assert self.link is not None
        return self.link

    @property
    def tools(self) -> Tools:
        return Tools(self.cluster)

    def new_images(self, number: int, pool: str = POOL, features: int | None = None) -> list[str]:
        """Make images with some data; give their names, with the pool's before them."""
        names = [f"image-{next(_numbers)}" for _ in range(number)]
        with self.tools.ioctx(pool) as ioctx:
            for name in names:
                rbd.RBD().create(ioctx, name, _IMAGE_BYTES, features=features)
                with rbd.Image(ioctx, name) as image:
                    image.write(_WRITTEN, 0)
        return [f"{pool}/{name}" for name in names]

    @contextmanager
    def another_server(self, *flags: str, client: str = USER, ends_with: int = 0) -> Iterator[Server]:
        """Start a second server of the cluster."""
        settings = write_scope(SCOPE, self.cluster, [f'client = "{client}"'])
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as folder,
            run_server(Path(folder), settings, *flags, ends_with=ends_with) as server,
        ):
            yield server


@dataclass
class Trial:
    """One run of a scenario: its images and the calls on them, and two images that these leave alone.

    What is removed by the scenario itself is noted in ``gone``: an image (``pool/image``), or ``pool/image@snapshot``.
    ``at_end`` is unwound when no call is under way any more; ``wrong`` has what is found wrong besides the calls.
    """

    environment: Environment
    images: list[str]
    quiet_image: str
    witness: str
    traffic: Traffic = field(default_factory=Traffic)
    gone: set[str] = field(default_factory=set)
    at_end: ExitStack = field(default_factory=ExitStack)
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, environment: Environment) -> "Trial":
        quiet_image, witness, *images = environment.new_images(2 + environment.pace.images)
        return cls(environment, images, quiet_image, witness)

    @property
    def tools(self) -> Tools:
        return self.environment.tools

    @property
    def cluster(self) -> DevCluster:
        return self.environment.cluster

    def expect(self, holds: object, what: str) -> None:
        """Note that something is wrong unless it holds."""
        if not holds:
            self.wrong.append(what)


@contextmanager
def running_environment(pace: Pace, shape: Shape = _ROOMY) -> Iterator[Environment]:
    """Make an environment, on a cluster of its own."""
    with tempfile.TemporaryDirectory(prefix="scenario-") as name:
        folder = Path(name)
        with (
            booted(folder / "ceph", shape) as cluster,
            run_server(folder, write_scope(SCOPE, cluster)) as server,
        ):
            yield Environment(cluster, server, folder, pace)


@contextmanager
def staged_on_two_hosts(pace: Pace) -> Iterator[Environment]:
    """Make an environment whose server is on another host than the cluster and the callers."""
    with tempfile.TemporaryDirectory(prefix="scenario-") as name, two_hosts() as (network, there):
        folder = Path(name)
        listen = ("--insecure", f"--listen-http={THERE}:0", f"--listen-grpc={THERE}:0")
        with (
            booted(folder / "ceph", replace(QUICK, address=HERE)) as cluster,
            run_server(folder, write_scope(SCOPE, cluster), *listen, prefix=there) as server,
        ):
            network.spare(*(int(address.rpartition(":")[2]) for address in (server.address, server.grpc_address)))
            yield Environment(cluster, server, folder, pace, network)
