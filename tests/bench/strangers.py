"""What wrong tokens cost those who have a right one: `python -m bench.strangers --calls 1000000`."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import click

from otterscale.storage.v1.storage_connect import StorageServiceClientSync
from otterscale.storage.v1.storage_pb2 import ListPoolsRequest
from support.access import Tokens, grant
from support.cluster import SCOPE, booted
from support.server import Held, Server, run_server
from support.strangers import flood
from support.tools import write_scope


@click.command()
@click.option("--calls", default=100_000, show_default=True, help="How many wrong tokens are sent.")
@click.option("--connections", default=16, show_default=True, help="How many connections send them.")
def main(calls: int, connections: int) -> None:
    """Send wrong tokens; say what a right one waits alone and meanwhile, and what memory grew by."""
    with tempfile.TemporaryDirectory() as name, booted(Path(name)) as cluster:
        folder = Path(name)
        tokens = Tokens(folder)
        token = tokens.new("alice")
        settings = tokens.setting + write_scope(SCOPE, cluster) + grant("alice", ["*"])
        with run_server(folder, settings) as server:
            asyncio.run(_measure(server, token, calls, connections))


async def _measure(server: Server, token: str, calls: int, connections: int) -> None:
    await flood(server, 5000, connections)
    alone = [await asyncio.to_thread(_wait, server, token) for _ in range(200)]
    before = Held.by(server)
    started = time.perf_counter()
    flooding = asyncio.create_task(flood(server, calls, connections))
    beside = []
    while not flooding.done():
        beside.append(await asyncio.to_thread(_wait, server, token))
    seconds = time.perf_counter() - started
    answers = await flooding
    after = Held.by(server)
    click.echo(f"{calls} wrong tokens in {seconds:.0f} s, {calls / seconds:.0f} a second: {dict(answers)}")
    click.echo(f"resident {before.resident_bytes / 1e6:.1f} MB before, {after.resident_bytes / 1e6:.1f} MB after")
    for name, waits in (("alone", alone), ("meanwhile", beside)):
        p50, p99 = statistics.median(waits), statistics.quantiles(waits, n=100)[98]
        click.echo(f"ListPools with a right token, {name}: p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms")


def _wait(server: Server, token: str) -> float:
    with StorageServiceClientSync(server.url) as client:
        started = time.perf_counter()
        client.list_pools(ListPoolsRequest(scope=SCOPE), headers={"authorization": f"Bearer {token}"})
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
