"""Pools, as the monitors and the manager describe them."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from datetime import datetime
from typing import Any

import rados

from rbd_connect.ceph.errors import tells_of_lost_connection
from rbd_connect.model.resources import Erasure, Pool

__all__ = [
    "PlacementGroups",
    "States",
    "holds_images",
    "list_pools",
    "mon_command",
    "mon_command_output",
    "parsed",
    "readable_pools",
]

_PATIENCE_SECONDS = 5.0
_PATIENCE_WITH_THE_LATE_SECONDS = 0.5
_RBD = "rbd"
_ERASURE = 3  # pg_pool_t::TYPE_ERASURE

_log = logging.getLogger(__name__)

States = Mapping[int, Mapping[str, int]]
"""How many placement groups are in which state, by their pools' ids."""


def list_pools(connection: rados.Rados, placement_groups: "PlacementGroups", application: str) -> list[Pool]:
    """List the pools by rising id: those that are tagged for an application, or all where it is "".

    However many there are, it takes two commands of the monitors, `osd dump` and `df`, and the manager's `pg dump`.

    Raises what ``rados_mon_command`` raises.
    """
    asked = placement_groups.begin(connection)
    dump = mon_command(connection, "osd dump")
    used = _used(connection)
    states = placement_groups.of(asked)
    found = [
        _pool(pool, used.get(pool["pool"], {}), dump["erasure_code_profiles"], states.get(pool["pool"], {}))
        for pool in readable_pools(dump["pools"])
        if not application or application in pool["application_metadata"]
    ]
    return sorted(found, key=lambda pool: pool.id)


def _used(connection: rados.Rados) -> dict[int, Mapping[str, int]]:
    """Say what `df` has of each pool, by its id; nothing where it has nothing to say."""
    try:
        return {pool["id"]: pool["stats"] for pool in mon_command(connection, "df", detail="detail")["pools"]}
    except (rados.Error, ValueError) as error:
        if tells_of_lost_connection(error):
            raise
        _log.warning("the monitor does not say how much the pools use: %s", error)
        return {}


def holds_images(pool: Mapping[str, Any]) -> bool:
    """Say whether a pool, as `osd dump` has it, is there for images: tagged for RBD, and able to hold headers."""
    return _RBD in pool["application_metadata"] and pool["type"] != _ERASURE


def mon_command(connection: rados.Rados, prefix: str, **arguments: object) -> Any:  # noqa: ANN401 - what JSON holds
    """Ask a monitor (``rados_mon_command``), and read its JSON. Raises what that raises, ``rados.OSError``."""
    return parsed(mon_command_output(connection, prefix, **arguments))


def mon_command_output(connection: rados.Rados, prefix: str, **arguments: object) -> bytes:
    """Ask a monitor as ``mon_command`` does, and return its JSON as it came. Raises what that raises."""
    command = json.dumps({"prefix": prefix, "format": "json", **arguments})
    status, output, _ = connection.mon_command(command, b"")
    if status:
        raise rados.OSError(prefix, errno=-status)
    return bytes(output)


def parsed(output: bytes) -> Any:  # noqa: ANN401 - what JSON holds
    """Read the JSON of a monitor. What is not UTF-8 in it comes with surrogates; see ``is_readable``."""
    return json.loads(output.decode(errors="surrogateescape"))


def is_readable(text: str) -> bool:
    """Say whether a text of ``mon_command`` is UTF-8. What is not cannot be told to a client, nor named by one."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def readable_pools(pools: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the pools whose names are UTF-8. The log tells of the others."""
    found = []
    for pool in pools:
        if is_readable(pool["pool_name"]):
            found.append(pool)
        else:
            name = pool["pool_name"].encode(errors="surrogateescape").decode(errors="backslashreplace")
            _log.warning("pool '%s' is not listed, since its name is not UTF-8", name)
    return found


class PlacementGroups:
    """What the manager says of the placement groups: asked for by one at a time, and not for ever waited for.

    Where it is down, a command to it hangs. ``command`` is one that prints placement groups under ``key``.
    """

    def __init__(self, command: str = "pg dump", key: str = "pg_stats", **arguments: object) -> None:
        self._command = command
        self._key = key
        self._arguments = arguments or {"dumpcontents": ["pgs_brief"]}
        self._lock = threading.Lock()
        self._asked: Future[States] | None = None
        self._when = float("-inf")
        self._patience = _PATIENCE_SECONDS

    def begin(self, connection: rados.Rados) -> "Future[States]":
        """Ask, unless an answer is waited for already."""
        with self._lock:
            is_late = time.monotonic() - self._when > _PATIENCE_SECONDS
            if self._asked is None or self._asked.done() or is_late:
                self._asked, self._when = Future(), time.monotonic()
                threading.Thread(target=self._ask, args=(connection, self._asked), daemon=True).start()
            return self._asked

    def of(self, asked: "Future[States]") -> States:
        """Give how many are in which state, by their pools' ids; nothing where the manager does not say in time."""
        try:
            states = asked.result(self._patience)
        except NotYetError:
            self._patience = _PATIENCE_WITH_THE_LATE_SECONDS
            _log.warning("the manager does not say in time how the placement groups are")
        except rados.Error as error:
            _log.warning("the manager does not say how the placement groups are: %s", error)
        else:
            self._patience = _PATIENCE_SECONDS
            return states
        return {}

    def _ask(self, connection: rados.Rados, asked: "Future[States]") -> None:
        try:
            dumped = mon_command(connection, self._command, **self._arguments)
            states: dict[int, Counter[str]] = {}
            for group in dumped[self._key]:
                pool = int(group["pgid"].partition(".")[0])
                states.setdefault(pool, Counter())[group["state"]] += 1
            asked.set_result(states)
        except Exception as error:  # noqa: BLE001 - who asked is told
            asked.set_exception(error)


def _pool(
    pool: Mapping[str, Any],
    used: Mapping[str, int],
    profiles: Mapping[str, Mapping[str, str]],
    states: Mapping[str, int],
) -> Pool:
    """Read what `osd dump` and `df` have of a pool."""
    is_erasure = pool["type"] == _ERASURE
    return Pool(
        id=pool["pool"],
        name=pool["pool_name"],
        updating=any(pool[number] != pool[f"{number}_target"] for number in ("pg_num", "pg_placement_num")),
        replicas=None if is_erasure else pool["size"],
        erasure=_erasure(pool, profiles.get(pool["erasure_code_profile"], {})) if is_erasure else None,
        quota_bytes=pool["quota_max_bytes"],
        quota_objects=pool["quota_max_objects"],
        used_bytes=used.get("bytes_used"),
        used_objects=used.get("objects"),
        max_bytes=used.get("max_avail"),
        placement_groups=pool["pg_num"],
        placement_group_states=states,
        created=datetime.fromisoformat(pool["create_time"]),
        applications=tuple(sorted(filter(is_readable, pool["application_metadata"]))),
    )


def _erasure(pool: Mapping[str, Any], profile: Mapping[str, str]) -> Erasure:
    # A pool has k + m chunks, whatever became of its profile.
    data_chunks = int(profile.get("k", pool["min_size"] - 1))
    return Erasure(
        data_chunks=data_chunks,
        coding_chunks=int(profile.get("m", pool["size"] - data_chunks)),
        overwrites="ec_overwrites" in pool["flags_names"].split(","),
    )
