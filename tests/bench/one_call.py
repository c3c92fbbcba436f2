"""Time spent inside one call, by phase: the server against the bare binding, interleaved in one run on fresh images.

It boots a cluster of its own, whose monitor commits at once, so that what is ours is not lost beside Ceph's second.
"""

import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import rados
import rbd

from otterscale.storage.v1.storage_connect import StorageServiceClientSync
from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest
from rbd_connect import object_map
from rbd_connect.devcluster import DevCluster

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.server import run_server
from support.tools import write_scope

IMAGE_BYTES = 4 << 30
PHASES = ["open", "lock", "create", "unlock", "refresh", "usage", "close", "the call"]
# What the bare binding does without.
OURS = {"lock", "unlock"}

Times = dict[str, list[float]]


@click.command()
@click.option("--images", default=100, show_default=True, help="How many pairs of calls.")
@click.option("--paxos-propose-interval", default=0.01, show_default=True, help="Seconds.")
def main(images: int, paxos_propose_interval: float) -> None:
    """Print a table of medians, in milliseconds, and of their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        click.echo("Booting a cluster", err=True)
        with DevCluster(Path(folder) / "ceph", paxos_propose_interval=paxos_propose_interval) as cluster:
            cluster.create_pool("rbd")
            cluster.create_user("client.rbd-connect", mon="profile rbd", osd="profile rbd")
            server, bare = measure(cluster, Path(folder), images)
    click.echo(f"{'ms, medians of ' + str(images):<24}{'server':>8}{'bare':>8}{'ratio':>8}")
    for phase in PHASES:
        ours = statistics.median(server[phase])
        if phase in OURS:
            click.echo(f"{phase:<24}{ours:>8.2f}")
            continue
        theirs = statistics.median(bare[phase])
        click.echo(f"{phase:<24}{ours:>8.2f}{theirs:>8.2f}{ours / theirs:>8.2f}")


def measure(cluster: DevCluster, folder: Path, images: int) -> tuple[Times, Times]:
    server_times: Times = defaultdict(list)
    bare_times: Times = defaultdict(list)
    settings = write_scope("bench", cluster)
    with (
        rados.Rados(conffile=str(cluster.conf), name="client.rbd-connect") as connection,
        connection.open_ioctx("rbd") as ioctx,
        run_server(folder, settings) as server,
        StorageServiceClientSync(server.url) as client,
        click.progressbar(range(-2, images), file=sys.stderr, label="Calling") as numbers,
    ):
        for number in numbers:
            for side in ("server", "bare"):
                rbd.RBD().create(ioctx, f"{side}{number}", IMAGE_BYTES)
            times = by_server(client, server.log, f"server{number}")
            bare = by_hand(connection, f"bare{number}")
            if number >= 0:  # the first ones connect and warm up
                for phase in PHASES:
                    server_times[phase].append(times[phase])
                    bare_times[phase].append(bare.get(phase, 0.0))
    return server_times, bare_times


def by_server(client: StorageServiceClientSync, log: Path, image: str) -> dict[str, float]:
    """Take a snapshot through the server. The phases are those of its log; the call is what the client waits."""
    request = CreateImageSnapshotRequest(scope="bench", pool_name="rbd", image_name=image, snapshot_name="s")
    started = time.perf_counter()
    client.create_image_snapshot(request)
    times = {"the call": (time.perf_counter() - started) * 1000}
    (line,) = [line for line in log.read_text().splitlines() if f'"{image}"' in line]
    match = re.search(r"ms \((.*?)\)", line)
    assert match
    for spent in match[1].split(", "):
        phase, _, milliseconds = spent.rpartition(" ")
        times[phase] = float(milliseconds)
    return times


def by_hand(connection: rados.Rados, name: str) -> dict[str, float]:
    """Do the same work with the bare bindings."""
    times: dict[str, float] = {}

    @contextmanager
    def timed(phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        times[phase] = (time.perf_counter() - started) * 1000

    with timed("the call"):
        ioctx = connection.open_ioctx("rbd")
        with timed("open"):
            image = rbd.Image(ioctx, name)
        with timed("create"):
            image.create_snap("s")
        with timed("refresh"):
            (snapshot,) = image.list_snaps()
        image.is_protected_snap("s")
        with timed("usage"):
            image.set_snap_by_id(snapshot["id"])
            image.flags()
            objects = image.stat()["num_objs"]
            stored = ioctx.read(
                object_map.object_name(image.id(), snapshot["id"]), length=object_map.encoded_size(objects)
            )
            decoded = object_map.ObjectMap.decode(stored)
            object_map.used_bytes(decoded, None, size=snapshot["size"], object_size=image.stat()["obj_size"])
        with timed("close"):
            image.close()
        ioctx.close()
    return times


if __name__ == "__main__":
    main()
