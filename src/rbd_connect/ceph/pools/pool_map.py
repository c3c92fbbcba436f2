"""The pools as the monitors have them now: names, ids, flags, and placement groups that no OSD serves.

librados resolves names in an OSD map of its own, which it renews only when something makes it. After pools were
renamed, it opens the pool that used to have a name, for as long as nothing does. So each call asks the monitors first.
"""

import errno
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import rados
from connectrpc.code import Code

from rbd_connect.common.threaded_single_flight import SingleFlight
from rbd_connect.model.errors import CephError, RetryableError, quoted

from .info import PlacementGroups, holds_images, mon_command, mon_command_output, parsed

__all__ = ["CurrentPools", "PoolMap", "PoolState", "inactive"]

_FRESH_SECONDS = 2.0
# Placement groups that change hands are without an OSD for a moment.
_UNSERVED_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """A pool: whether it can hold images, and its flags (``full``, ``full_quota``, …)."""

    id: int
    name: str
    holds_images: bool
    flags: frozenset[str]

    def check_room(self) -> None:
        """Raise CephError (resource_exhausted) where the pool takes no more data.

        librados waits for space for as long as its timeouts allow, so this is asked before.
        (``rados_set_osdmap_full_try`` does not wait, but leaves a snapshot without an object map.)
        """
        if "full_quota" in self.flags:
            raise CephError(
                Code.RESOURCE_EXHAUSTED,
                "POOL_QUOTA_REACHED",
                f"The quota of pool {quoted(self.name)} is reached.",
                errno.EDQUOT,
            )
        if "full" in self.flags:
            raise CephError(
                Code.RESOURCE_EXHAUSTED, "POOL_FULL", f"The pool {quoted(self.name)} is full.", errno.ENOSPC
            )


def inactive(pool: str | None) -> RetryableError:
    """Return the error for a pool with placement groups that no OSD serves; None is one that the call did not name."""
    which = "another pool" if pool is None else f"pool {quoted(pool)}"
    return RetryableError(
        Code.UNAVAILABLE,
        "POOL_INACTIVE",
        f"No OSD serves some placement groups of {which}. Nothing was done.",
    )


@dataclass(frozen=True, slots=True)
class PoolMap:
    """All pools at one moment, by their ids."""

    by_id: Mapping[int, PoolState]
    _by_name: Mapping[str, PoolState] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {pool.name: pool for pool in self.by_id.values()})

    def named(self, name: str) -> PoolState | None:
        """Return the pool that has a name now; None where none has it."""
        return self._by_name.get(name)


class CurrentPools:
    """The pools of the cluster that a connection is to. Its methods block; from any thread."""

    def __init__(self, connection: rados.Rados) -> None:
        self._connection = connection
        self._flight: SingleFlight[PoolMap] = SingleFlight()
        self._output = b""
        self._map = PoolMap({})
        self._unserved_lock = threading.Lock()
        self._unserved_asked = float("-inf")
        self._unserved: frozenset[int] = frozenset()
        self._stuck = PlacementGroups(
            "pg dump_stuck", "stuck_pg_stats", stuckops=["inactive", "stale"], threshold=_UNSERVED_SECONDS
        )

    def now(self) -> PoolMap:
        """Ask a monitor for the pools (`osd pool ls`); calls that ask at the same time share its answer.

        Raises what ``mon_command`` raises.
        """
        return self._flight.ask(self._ask)

    def unserved(self) -> frozenset[int]:
        """Return the ids of pools with placement groups that no OSD has served for some seconds.

        As the manager knew it at most some seconds ago; empty where it does not say. Raises what ``mon_command``
        raises.
        """
        with self._unserved_lock:
            if time.monotonic() - self._unserved_asked > _FRESH_SECONDS:
                self._unserved = frozenset(self._ask_unserved())
                self._unserved_asked = time.monotonic()
            return self._unserved

    def _ask(self) -> PoolMap:
        output = mon_command_output(self._connection, "osd pool ls", detail="detail")
        if output != self._output:
            pools = PoolMap({pool["pool_id"]: _state(pool) for pool in parsed(output)})
            if _names(pools) != _names(self._map):
                # librbd names the pools of clones and parents by librados' own map.
                self._connection.wait_for_latest_osdmap()
            self._map, self._output = pools, output
        return self._map

    def _ask_unserved(self) -> Iterator[int]:
        states = mon_command(self._connection, "status")["pgmap"].get("pgs_by_state", ())
        if all(_is_served(state["state_name"]) for state in states):
            return
        for pool, stuck in self._stuck.of(self._stuck.begin(self._connection)).items():
            if not all(map(_is_served, stuck)):
                yield pool


def _is_served(state: str) -> bool:
    words = state.split("+")
    return "active" in words and "stale" not in words


def _names(pools: PoolMap) -> dict[int, str]:
    return {pool.id: pool.name for pool in pools.by_id.values()}


def _state(pool: Mapping[str, Any]) -> PoolState:
    return PoolState(
        id=pool["pool_id"],
        name=pool["pool_name"],
        holds_images=holds_images(pool),
        flags=frozenset(pool["flags_names"].split(",")),
    )
