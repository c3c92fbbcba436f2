"""Faults of the server's own access: its client is blocklisted, its key is rotated, its caps are taken away."""

import subprocess
import tempfile
import time

from support.cluster import CAPS, USER
from support.tools import wait_until

from ..drills import Drill
from ..stage import Scene

__all__ = ["DRILLS"]


def _blocklist(scene: Scene) -> None:
    for address in scene.tools.addresses(USER):
        scene.tools.ceph("osd", "blocklist", "add", address)


def _rotate_key(scene: Scene) -> None:
    log = scene.stage.server.log
    before = log.read_text().count("connected anew")
    with tempfile.NamedTemporaryFile() as other:
        caps = [word for daemon, cap in CAPS.items() for word in ("--cap", daemon, cap)]
        words = ("ceph-authtool", other.name, "--create-keyring", "--gen-key", "--name", USER, *caps)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        scene.tools.ceph("auth", "import", "-i", other.name)
    scene.cluster.create_user(USER, **CAPS)  # writes the keyring
    wait_until(lambda: log.read_text().count("connected anew") > before)


def _take_caps_away(scene: Scene) -> None:
    """Those who are connected keep what they have; so the connection is taken away too."""
    scene.cluster.command("auth caps", entity=USER, caps=["mon", "allow r"])
    _blocklist(scene)
    wait_until(lambda: any(record.answer.reason == "CEPH_CAPS_MISSING" for record in list(scene.traffic.records)))
    time.sleep(scene.stage.pace.down)
    scene.cluster.command("auth caps", entity=USER, caps=[word for pair in CAPS.items() for word in pair])


DRILLS = (
    Drill("client blocklisted in the middle of 64 calls", _blocklist, callers=64, heals_within=1.0),
    Drill("key rotated", _rotate_key),
    Drill(
        "caps taken away and given back", _take_caps_away, brings=frozenset({"CEPH_CAPS_MISSING", "CEPH_AUTH_REJECTED"})
    ),
)
