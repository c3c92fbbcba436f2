"""The faults: each is done and undone; then everything is healthy, and what was called since should succeed."""

import time
from collections.abc import Callable, Mapping

from support.tools import frozen, wait_until

from .stage import CAPS, USER, Stage

__all__ = ["FAULTS", "Fault"]

Fault = Callable[[Stage], None]

_FROZEN_SECONDS = 20.0
_DOWN_SECONDS = 5.0


def _freeze(name: str) -> Fault:
    def fault(stage: Stage) -> None:
        with frozen(stage.cluster.daemons[name]):
            time.sleep(_FROZEN_SECONDS)

    return fault


def _kill(name: str) -> Fault:
    def fault(stage: Stage) -> None:
        stage.cluster.kill(name)
        time.sleep(_DOWN_SECONDS)
        stage.cluster.revive(name)

    return fault


def _blocklist(stage: Stage) -> None:
    for address in stage.tools.addresses(USER):
        stage.tools.ceph("osd", "blocklist", "add", address)


def _rotate_key(stage: Stage) -> None:
    stage.cluster.command("auth rm", entity=USER)
    stage.cluster.create_user(USER, **CAPS)
    wait_until(lambda: "connected anew" in stage.server.log.read_text())


FAULTS: Mapping[str, Fault] = {
    "OSD frozen for 20 s": _freeze("osd.0"),
    "OSD killed and restarted": _kill("osd.0"),
    "monitor frozen for 20 s": _freeze("mon.a"),
    "monitor killed and restarted": _kill("mon.a"),
    "server's client blocklisted": _blocklist,
    "server's key rotated": _rotate_key,
}
