"""Calls a second over each transport, and how long one of them waits, against /healthz, which is no call.

The calls name an unknown scope, so none reaches Ceph: what is measured is the way of a call to the service and of an
error back. h2load makes them, for it takes little of the cores that it shares with the server.
"""

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
from google.protobuf import json_format

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest
from support.clients import CLIENTS, request
from support.server import PROCEDURE, Server, run_server

BASELINE = "/healthz"
REQUEST = request("rbd", "image", "snapshot", scope="nowhere")
WARM_UP_ROUNDS = 1


class Load(NamedTuple):
    """What h2load is to send, and the HTTP status that answers it."""

    name: str
    words: tuple[str, ...]
    status: int = 200
    connections: int | None = None  # else one for each call at a time


class Measured(NamedTuple):
    """Calls a second, and percentiles of how long a call waits, in milliseconds."""

    rate: float
    p50: float
    p99: float


class Row(NamedTuple):
    """A request as h2load logs it: start since the epoch, HTTP status, time until the end of the response; in µs."""

    start: int
    status: int
    waited: int


@click.command()
@click.option("--calls", default=3000, show_default=True, help="How many calls a measurement has.")
@click.option("--concurrency", default=100, show_default=True, help="How many calls are in flight at a time.")
@click.option("--rounds", default=5, show_default=True, help="How often each transport is measured, in turns.")
def main(calls: int, concurrency: int, rounds: int) -> None:
    """Print a table of medians over the rounds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        conf = folder / "ceph.conf"
        conf.touch()  # nobody connects with it
        with run_server(folder, f'[scopes.bench]\nconf = "{conf}"\n') as server:
            check(server)
            measured = measure(server, folder, calls, concurrency, rounds)
    click.echo(f"{'medians of ' + str(rounds) + ' rounds':<24}{'calls/s':>8}{'p50 ms':>8}{'p99 ms':>8}{'ratio':>8}")
    medians = {
        name: Measured(*map(statistics.median, zip(*of_load, strict=True))) for name, of_load in measured.items()
    }
    for name, (rate, p50, p99) in medians.items():
        click.echo(f"{name:<24}{rate:>8.0f}{p50:>8.1f}{p99:>8.1f}{rate / medians[BASELINE].rate:>8.2f}")
    cores = len(os.sched_getaffinity(0))
    click.echo(
        f"{cores} cores, {concurrency} calls at a time on {concurrency} connections, "
        f"{calls} calls a measurement, {rounds} rounds"
    )


def check(server: Server) -> None:
    """See that each transport brings the expected error."""
    for client in ("connect-json", "connect-binary", "grpc-web", "grpcio"):
        outcome = CLIENTS[client](server, REQUEST)
        assert (outcome.code, outcome.reason) == ("not_found", "SCOPE_NOT_FOUND"), (client, outcome)


def measure(server: Server, folder: Path, calls: int, concurrency: int, rounds: int) -> dict[str, list[Measured]]:
    measured: dict[str, list[Measured]] = defaultdict(list)
    every = list(loads(server, folder))
    turns = [(number, load) for number in range(-WARM_UP_ROUNDS, rounds) for load in every]
    with click.progressbar(turns, file=sys.stderr, label="Calling") as shown:
        for number, load in shown:
            of_load = run(load, server, folder, calls, concurrency)
            if number >= 0:
                measured[load.name].append(of_load)
    return measured


def loads(server: Server, folder: Path) -> Iterator[Load]:
    message = json_format.ParseDict(REQUEST, CreateImageSnapshotRequest()).SerializeToString()
    prefixed = struct.pack(">?I", False, len(message)) + message  # noqa: FBT003 - it is not compressed
    version = ("--header", "Connect-Protocol-Version: 1")

    def body(name: str, content: bytes) -> tuple[str, ...]:
        """Give the words that post ``content`` as ``application/name``."""
        path = folder / name
        path.write_bytes(content)
        return ("--data", str(path), "--header", f"Content-Type: application/{name}")

    yield Load(BASELINE, ("--h1", server.url + BASELINE))
    yield Load("Connect JSON", ("--h1", *version, *body("json", json.dumps(REQUEST).encode()), server.method_url), 404)
    yield Load("Connect binary", ("--h1", *version, *body("proto", message), server.method_url), 404)
    yield Load("gRPC-Web", ("--h1", *body("grpc-web", prefixed), server.method_url))
    grpc = ("--header", "te: trailers", *body("grpc", prefixed), f"http://{server.grpc_address}/{PROCEDURE}")
    yield Load("gRPC", grpc)
    yield Load("gRPC, 1 connection", grpc, connections=1)


def run(load: Load, server: Server, folder: Path, calls: int, concurrency: int) -> Measured:
    """Measure once, and see that every call was answered as it should be."""
    logged = server.log.stat().st_size
    rows = h2load(load, folder / "h2load.log", calls, concurrency)
    statuses = Counter(row.status for row in rows)
    assert statuses == {load.status: calls}, (load.name, statuses)
    with server.log.open("rb") as log:
        log.seek(logged)
        not_found = log.read().count(b"CreateImageSnapshot not_found in ")
    assert not_found == (0 if load.name == BASELINE else calls), (load.name, not_found)
    microseconds = max(row.start + row.waited for row in rows) - min(row.start for row in rows)
    percentiles = statistics.quantiles((row.waited / 1000 for row in rows), n=100)
    return Measured(calls / microseconds * 1_000_000, percentiles[49], percentiles[98])


def h2load(load: Load, log: Path, calls: int, concurrency: int) -> list[Row]:
    log.unlink(missing_ok=True)  # else it would append
    connections = load.connections or concurrency
    numbers = (f"--requests={calls}", f"--clients={connections}")
    streams = f"--max-concurrent-streams={concurrency // connections}"
    words = ("h2load", *numbers, streams, f"--log-file={log}", *load.words)
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return [Row(*map(int, line.split())) for line in log.read_text().splitlines()]


if __name__ == "__main__":
    main()
