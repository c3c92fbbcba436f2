"""Each call on each state: what is answered, how soon, and what the cluster holds then, as Ceph prints it."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS as TRANSPORTS
from support.clients import Outcome
from support.cluster import booted
from support.server import Server, run_server
from support.tools import ToolFailedError, Tools, write_scope

from .maker import MIB, Maker, Target
from .page import page
from .table import ABSENT, BY_NAME, CALLS, CREATE, GROW, SHRINK, STATES, WHOLE, State

POOL = "states"
MADE = "made"
_SIZES = {CREATE: 16 * MIB, GROW: 32 * MIB, SHRINK: 8 * MIB}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A cluster for this table alone: others would list what is left of its states."""
    with booted(tmp_path_factory.mktemp("ceph")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def tools(cluster: DevCluster) -> Tools:
    return Tools(cluster)


@pytest.fixture(scope="module")
def maker(cluster: DevCluster, tools: Tools) -> Maker:
    cluster.create_pool(POOL)
    cluster.create_pool("readable")
    return Maker(cluster, tools)


@pytest.fixture(scope="module")
def users(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a scope for each Ceph user that states need."""
    one_pool = cluster.create_user("client.one-pool", mon="profile rbd", osd=f"profile rbd pool={POOL}")
    reads = cluster.create_user(
        "client.reads-parents", mon="profile rbd", osd=f"profile rbd pool={POOL}, allow r class-read pool=readable"
    )
    assert one_pool.exists()
    assert reads.exists()
    settings = [write_scope("test", cluster)]
    settings += [write_scope(name, cluster, [f'client = "client.{name}"']) for name in ("one-pool", "reads-parents")]
    with run_server(tmp_path_factory.mktemp("states"), "\n".join(settings)) as server:
        yield server


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_what_is_answered_and_what_is_left(state: State, users: Server, maker: Maker) -> None:
    target = Target(pool=POOL, image=f"state-{STATES.index(state)}", pools=[POOL])
    with state.make(maker, target):
        listed = listing(users, target)
        answers: dict[str, str] = {}
        held: Held | None = None
        for call in CALLS:
            before = held or Held(maker.tools, target)
            began = time.monotonic()
            outcome = tried(users, target, call)
            assert time.monotonic() - began < state.seconds, call
            answers[call] = "ok" if outcome.reply is not None else f"{outcome.code} {outcome.reason}"
            if outcome.reply is None:
                held = Held(maker.tools, target)
                assert not held.differs_from(before), f"{call}: {answers[call]}: {outcome.message}"
            else:
                held = None
                check(maker.tools, target, call, outcome)
    assert answers == dict(state.answers)
    assert listed == state.listed


def tried(server: Server, target: Target, call: str) -> Outcome:
    body: dict[str, Any] = {"scope": target.scope, "poolName": target.pool, "imageName": target.image}
    if "Snapshot" in call:
        body["snapshotName"] = MADE if call == "CreateImageSnapshot" else target.snapshot
    if call in _SIZES:
        body["quotaBytes"] = _SIZES[call]
    return TRANSPORTS["connect"](server, body, call.partition(" ")[0])


def listing(server: Server, target: Target) -> str:
    """How ListImages tells of the image."""
    reply = TRANSPORTS["connect"](server, {"scope": target.scope}, "ListImages").reply
    assert reply is not None
    for image in reply.get("images", []):
        if (image["poolName"], image["name"]) == (target.pool, target.image):
            return WHOLE if "quotaBytes" in image else BY_NAME
    return ABSENT


class Held:
    """What the cluster holds: the names of all objects of some pools, and what `rbd` prints of the image."""

    def __init__(self, tools: Tools, target: Target) -> None:
        self.objects = {
            f"{pool}: {line}" for pool in target.pools for line in tools.objects("-p", pool, "ls", "--all").splitlines()
        }
        self.printed = [self._printed(tools, words, target) for words in (("snap", "ls", "--all"), ("info",))]

    @staticmethod
    def _printed(tools: Tools, words: Sequence[str], target: Target) -> str:
        if not target.is_readable:
            return ""
        try:
            lines = tools.rbd(*words, target.at).splitlines()
        except ToolFailedError:
            return "cannot be read"
        return "\n".join(line for line in lines if "_timestamp" not in line)

    def differs_from(self, before: "Held") -> set[str]:
        """What came or went since. The data of images that were deleted goes by and by."""
        gone = {name for name in before.objects - self.objects if "rbd_data." not in name}
        printed = {now for now, then in zip(self.printed, before.printed, strict=True) if now != then}
        return (self.objects - before.objects) | gone | printed


def check(tools: Tools, target: Target, call: str, outcome: Outcome) -> None:
    """See that what was answered ``ok`` is so."""
    name = target.snapshot
    match call:
        case "CreateImageSnapshot":
            snapshot = tools.snapshot(target.at, MADE)
            assert outcome.reply is not None
            assert int(outcome.reply["quotaBytes"]) == snapshot["size"]
        case "ProtectImageSnapshot":
            assert tools.snapshot(target.at, name)["protected"] == "true"
        case "UnprotectImageSnapshot":
            assert tools.snapshot(target.at, name)["protected"] == "false"
        case "RollbackImageSnapshot":
            assert tools.rbd_json("info", target.at)["size"] == 16 * MIB
        case "DeleteImageSnapshot":
            assert name not in {snapshot["name"] for snapshot in tools.snapshots(target.at)}
            if MADE in {snapshot["name"] for snapshot in tools.snapshots(target.at)}:
                tools.rbd("snap", "rm", "--no-progress", "--snap", MADE, target.at)
        case "DeleteImage":
            assert target.image not in tools.rbd_json("ls", target.pool)
        case _:
            assert tools.rbd_json("info", target.at)["size"] == _SIZES[call]


def test_the_documents_have_the_table() -> None:
    written = Path(__file__).parents[3] / "docs" / "states.md"
    assert written.read_text(encoding="utf-8") == page(), "run `make docs`"
