"""Creates a second, on as many images as there are callers: through the server, and by the bare binding on threads."""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import grpc.aio
import rados
import rbd

from otterscale.storage.v1.storage_connect import StorageServiceClient
from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest
from rbd_connect.devcluster import DevCluster

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.one_call import by_hand
from support.clients import grpc_stubs
from support.server import Server, run_server
from support.tools import write_scope

IMAGE_BYTES = 64 << 20
SIDES = ("bare", "Connect", "gRPC")

Rates = dict[tuple[int, str], float]


@click.command()
@click.option("--callers", default="1,16,64,128,256", show_default=True, help="How many at once, several with commas.")
@click.option("--rounds", default=3, show_default=True, help="How often each is measured.")
@click.option("--paxos-propose-interval", "intervals", default="0.01,1", show_default=True, help="Seconds.")
def main(callers: str, rounds: int, intervals: str) -> None:
    """Print a table of medians, and of their ratios to the bare binding's."""
    sizes = [int(size) for size in callers.split(",")]
    for interval in map(float, intervals.split(",")):
        rates = measure(interval, sizes, rounds)
        click.echo(f"creates a second, paxos_propose_interval {interval:g} s")
        click.echo(f"{'callers':>8}{'bare':>10}{'Connect':>10}{'ratio':>8}{'gRPC':>10}{'ratio':>8}")
        for size in sizes:
            bare, connect, by_grpc = (rates[size, side] for side in SIDES)
            ratios = connect / bare, by_grpc / bare
            click.echo(f"{size:>8}{bare:>10.1f}{connect:>10.1f}{ratios[0]:>8.2f}{by_grpc:>10.1f}{ratios[1]:>8.2f}")
    click.echo(f"{os.cpu_count()} cores, shared with the cluster; medians of {rounds} rounds")


def measure(interval: float, sizes: Sequence[int], rounds: int) -> Rates:
    """Measure each number of callers in turn, the sides one after the other in each round, on fresh images."""
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    with bench(interval) as (connection, server):
        make = images_of(connection)
        with click.progressbar(
            [(size, number) for size in sizes for number in range(rounds)], file=sys.stderr
        ) as steps:
            for size, _ in steps:
                for side in SIDES:
                    run = {"bare": by_threads(connection), "Connect": by_connect(server), "gRPC": by_grpc(server)}[side]
                    seconds[size, side].append(run(make(size)))
    return {(size, side): size / statistics.median(taken) for (size, side), taken in seconds.items()}


@contextmanager
def bench(interval: float) -> Iterator[tuple[rados.Rados, Server]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        DevCluster(Path(folder) / "ceph", paxos_propose_interval=interval) as cluster,
    ):
        cluster.create_pool("rbd")
        cluster.create_user("client.rbd-connect", mon="profile rbd", osd="profile rbd")
        with (
            rados.Rados(conffile=str(cluster.conf), name="client.rbd-connect") as connection,
            run_server(Path(folder), write_scope("bench", cluster)) as server,
        ):
            by_connect(server)(images_of(connection)(1))  # connects
            yield connection, server


def images_of(connection: rados.Rados) -> Callable[[int], list[str]]:
    """Give what makes so many new images, and gives their names."""

    def make(number: int) -> list[str]:
        names = [f"image-{time.monotonic_ns()}-{index}" for index in range(number)]
        with connection.open_ioctx("rbd") as ioctx, ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: rbd.RBD().create(ioctx, name, IMAGE_BYTES), names))
        return names

    return make


def by_threads(connection: rados.Rados) -> Callable[[list[str]], float]:
    def run(names: list[str]) -> float:
        with ThreadPoolExecutor(len(names)) as pool:
            started = time.perf_counter()
            list(pool.map(partial(by_hand, connection), names))
            return time.perf_counter() - started

    return run


def request_for(name: str) -> CreateImageSnapshotRequest:
    return CreateImageSnapshotRequest(scope="bench", pool_name="rbd", image_name=name, snapshot_name="s")


def by_connect(server: Server) -> Callable[[list[str]], float]:
    async def run(names: list[str]) -> float:
        async with StorageServiceClient(server.url) as client:
            started = time.perf_counter()
            await asyncio.gather(*(client.create_image_snapshot(request_for(name)) for name in names))
            return time.perf_counter() - started

    return lambda names: asyncio.run(run(names))


def by_grpc(server: Server) -> Callable[[list[str]], float]:
    async def run(names: list[str]) -> float:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            stub = grpc_stubs().StorageServiceStub(channel)
            started = time.perf_counter()
            await asyncio.gather(*(stub.CreateImageSnapshot(request_for(name)) for name in names))
            return time.perf_counter() - started

    return lambda names: asyncio.run(run(names))


if __name__ == "__main__":
    main()
