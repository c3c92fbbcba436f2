"""Row 11: what each call costs in Ceph: operations of OSDs, commands of the monitor, new maps of OSDs (commits)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import rbd

from support.clients import CALLS
from support.cluster import POOL, SCOPE
from support.server import Server

from .monitor_log import counted
from .progress import shown
from .table import Line
from .workbench import Bench, Site

__all__ = ["measure"]

_IMAGES = 50
_SNAPSHOT = {"snapshotName": "first"}
_SIZE = 16 << 20

# In the order in which an image goes through them; each is made of every image.
_CALLS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("CreateImage", {"quotaBytes": _SIZE}),
    ("CreateImageSnapshot", _SNAPSHOT),
    ("ProtectImageSnapshot", _SNAPSHOT),
    ("UnprotectImageSnapshot", _SNAPSHOT),
    ("RollbackImageSnapshot", _SNAPSHOT),
    ("UpdateImage", {"quotaBytes": 2 * _SIZE}),
    ("ListImages", {}),
    ("ListPools", {}),
    ("DeleteImageSnapshot", _SNAPSHOT),
    ("DeleteImage", {}),
)


@dataclass(frozen=True)
class _Counted:
    """What the OSD has done since it was started, and how many maps of OSDs the monitor has made."""

    reads: int
    writes: int
    maps: int

    @classmethod
    def of(cls, site: Site) -> "_Counted":
        osd = json.loads(site.tools.ceph("tell", "osd.0", "perf", "dump"))["osd"]
        epoch = json.loads(site.tools.ceph("osd", "stat", "--format", "json"))["epoch"]
        return cls(osd["op_r"], osd["op_w"] + osd["op_rw"], epoch)


def measure(bench: Bench, _rounds: int) -> Iterator[Line]:
    site = bench.fast
    names = [f"counted-{number}" for number in range(_IMAGES)]
    with bench.server(**{SCOPE: site}) as server:
        for rpc, fields in shown(_CALLS, "row 11"):
            if rpc == "RollbackImageSnapshot":
                _write(site, names)
            yield from _lines(site, server, rpc, names, fields)


def _lines(site: Site, server: Server, rpc: str, names: list[str], fields: Mapping[str, Any]) -> Iterator[Line]:
    """Count what a call on each image takes; a list is one of all of them, and is made as often."""
    is_list = rpc.startswith("List")
    before = _Counted.of(site)
    with counted(site) as commands:
        for name in names:
            body = {"scope": SCOPE} if is_list else {"scope": SCOPE, "poolName": POOL, "imageName": name, **fields}
            outcome = CALLS["connect"](server, body, rpc)
            assert outcome.code is None, outcome
    after = _Counted.of(site)
    what = f"{rpc} of {len(names)} images" if rpc == "ListImages" else rpc
    for kind in ("reads", "writes", "maps"):
        each = (getattr(after, kind) - getattr(before, kind)) / len(names)
        yield Line(11, f"{what}: {kind}", "a call", each)
    yield Line(11, f"{what}: commands of the monitor", "a call", len(commands) / len(names))


def _write(site: Site, names: list[str]) -> None:
    """Write to each image what a rollback is to take back."""
    with site.connection.open_ioctx(POOL) as ioctx:
        for name in names:
            with rbd.Image(ioctx, name) as image:
                image.write(b"x", 0)
