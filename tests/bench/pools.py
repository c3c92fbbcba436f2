"""Row 10: listing two hundred pools, against `ceph` and the bare commands; how many commands the monitor is given."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from otterscale.storage.v1.storage_pb2 import ListPoolsRequest, ListPoolsResponse
from rbd_connect.ceph.pools.info import mon_command
from support.cluster import SCOPE

from .monitor_log import counted
from .progress import shown
from .table import Line
from .timing import medians
from .unread import WAYS, Call
from .workbench import Bench, Site

__all__ = ["measure"]

_POOLS = 200
_MADE_AT_ONCE = 8
_CALLS = 10
_REQUEST = ListPoolsRequest(scope=SCOPE)


def measure(bench: Bench, rounds: int) -> Iterator[Line]:
    with bench.fresh_site() as site, bench.server(**{SCOPE: site}) as server, ExitStack() as stack:
        _make_pools(site)
        calls = {name: stack.enter_context(way(server)) for name, way in WAYS.items()}
        for call in calls.values():
            assert len(ListPoolsResponse.FromString(call("ListPools", _REQUEST)).pools) > _POOLS
        ways: dict[str, Callable[[], object]] = {
            **{name: partial(call, "ListPools", _REQUEST) for name, call in calls.items()},
            "bare": partial(_by_bare_commands, site),
            "ceph": partial(_by_ceph, site),
        }
        took = medians(ways, 4 * rounds, "row 10")
        for name in WAYS:
            what = f"{_POOLS} pools, {name} / `ceph osd pool ls`, `ceph df`"
            yield Line(10, what, "ms", took[name], took["ceph"])
        yield Line(10, "  Connect / bare: osd dump, df, pg dump", "ms", took["Connect"], took["bare"])
        commands = _commands(site, calls["Connect"])
        yield Line(10, "  commands that the monitor is given / calls", "", commands, _CALLS, "3.00")


def _make_pools(site: Site) -> None:
    def make(number: int) -> None:
        site.cluster.command("osd pool create", pool=f"pool-{number}", pg_num=1, pgp_num=1)

    with ThreadPoolExecutor(_MADE_AT_ONCE) as pool:
        made = pool.map(make, range(_POOLS))
        for _ in shown(range(_POOLS), f"row 10, making {_POOLS} pools"):
            next(made)
    site.cluster.wait_until_clean()


def _by_bare_commands(site: Site) -> None:
    mon_command(site.connection, "osd dump")
    mon_command(site.connection, "df", detail="detail")
    mon_command(site.connection, "pg dump", dumpcontents=["pgs_brief"])


def _by_ceph(site: Site) -> None:
    for words in (("osd", "pool", "ls", "detail"), ("df", "detail")):
        site.tools.ceph(*words, "--format=json")


def _commands(site: Site, call: Call) -> int:
    """Count the commands for which some calls have the monitor asked."""
    with counted(site) as commands:
        for _ in range(_CALLS):
            call("ListPools", _REQUEST)
    return len(commands)
