"""Many wrong tokens: each is refused, nothing of them is kept, and who has a right one is served meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, Outcome
from support.server import Held, Server, run_server
from support.strangers import flood
from support.tools import write_scope

_CALLS = 20_000
_WARM_UP_CALLS = 10_000  # more than the lines that may wait to be written
_CONNECTIONS = 250
_MOST_GROWTH_BYTES = 4 << 20


@pytest.fixture
def served(cluster: DevCluster, tmp_path: Path) -> Iterator[tuple[Server, str]]:
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    with run_server(tmp_path, settings) as server:
        yield server, token


def test_wrong_tokens_leave_nothing_and_hold_up_nobody(served: tuple[Server, str]) -> None:
    server, token = served

    def listed() -> Outcome:
        return CALLS["grpc"](server, {"scope": "test"}, "ListPools", bearer(token))

    async def beside(calls: int) -> list[Outcome]:
        flooding = asyncio.create_task(flood(server, calls, _CONNECTIONS))
        outcomes = []
        while not flooding.done():
            outcomes.append(await asyncio.to_thread(listed))
        assert (await flooding) == {b"http/1.1 401 unauthorized": calls}
        return outcomes

    assert listed().code is None
    asyncio.run(beside(_WARM_UP_CALLS))
    before = Held.by(server)
    outcomes = asyncio.run(beside(_CALLS))
    assert {outcome.code for outcome in outcomes} == {None}
    after = Held.by(server)
    assert after.resident_bytes - before.resident_bytes < _MOST_GROWTH_BYTES
    assert len(server.audit.read_text().splitlines()) == _CALLS + _WARM_UP_CALLS
