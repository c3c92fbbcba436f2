"""Faults of the server's own access: its client is blocklisted, its key is rotated, its caps are taken away."""

import json
import subprocess
import tempfile
import time
from itertools import count

import rados

from support.clients import create, request
from support.cluster import CAPS, SCOPE, USER
from support.server import Held, Server, workers_of
from support.waiting import wait_until

from ..environment import Trial
from ..scenario import Scenario

__all__ = ["SCENARIOS"]

_OTHER_USER = "client.replaced"
_WARM_UP = 5
_SNAPSHOTS = 50  # of one image
_MAY_GROW = 1.1


def _blocklist(trial: Trial) -> None:
    for address in trial.tools.addresses(USER):
        trial.tools.ceph("osd", "blocklist", "add", address)


def _rotate_key(trial: Trial) -> None:
    log = trial.environment.server.log
    before = log.read_text().count("connected anew")
    with tempfile.NamedTemporaryFile() as other:
        caps = [word for daemon, cap in CAPS.items() for word in ("--cap", daemon, cap)]
        words = ("ceph-authtool", other.name, "--create-keyring", "--gen-key", "--name", USER, *caps)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        trial.tools.ceph("auth", "import", "-i", other.name)
    trial.cluster.create_user(USER, **CAPS)  # writes the keyring
    wait_until(lambda: log.read_text().count("connected anew") > before)


def _take_caps_away(trial: Trial) -> None:
    """Those who are connected keep what they have; so the connection is taken away too."""
    trial.cluster.command("auth caps", entity=USER, caps=["mon", "allow r"])
    _blocklist(trial)
    wait_until(lambda: any(record.answer.reason == "CEPH_CAPS_MISSING" for record in list(trial.traffic.records)))
    time.sleep(trial.environment.pace.down)
    trial.cluster.command("auth caps", entity=USER, caps=[word for pair in CAPS.items() for word in pair])


def _configure_again_and_again(trial: Trial) -> None:
    """The monitors give librbd's options other values, and in the end one that the next connection has to have."""
    until = time.monotonic() + 2 * trial.environment.pace.down
    for number in count(1):
        trial.cluster.command("config set", who=USER, name="rbd_cache_max_dirty", value=str(1_000_000 + number))
        if time.monotonic() > until:
            break
    trial.cluster.command("config rm", who=USER, name="rbd_cache_max_dirty")


def _replace_again_and_again(trial: Trial) -> None:
    """Of a connection that was replaced nothing is left: no process, descriptor, session or watcher."""
    trial.cluster.create_user(_OTHER_USER, **CAPS)
    images = trial.environment.new_images(1 + (_WARM_UP + trial.environment.pace.replacements) // _SNAPSHOTS)
    with (
        trial.environment.another_server(client=_OTHER_USER) as server,
        rados.Rados(conffile=str(trial.cluster.conf), name="client.admin") as admin,
    ):
        before: Held | None = None
        for number in range(_WARM_UP + trial.environment.pace.replacements):
            pool, _, name = images[number // _SNAPSHOTS].partition("/")
            body = request(pool, name, f"r{number}", scope=SCOPE)
            answer = create(server, body)
            is_made = answer.code is None
            if not is_made and answer.reason == "OUTCOME_UNKNOWN":
                # The OSD heard of the blocklist only in the middle of the call; a retry tells.
                answer = create(server, body)
                is_made = answer.code is None or answer.reason == "SNAPSHOT_EXISTS"
            trial.expect(is_made, f"replacement {number} was answered {answer}")
            if number == _WARM_UP:
                before = _held_at_rest(server)
            for address in _addresses(admin):
                trial.cluster.command("osd blocklist", blocklistop="add", addr=address)
        after = _held_at_rest(server)
    assert before is not None
    for what in ("threads", "descriptors", "resident_bytes"):
        earlier, later = getattr(before, what), getattr(after, what)
        trial.expect(later <= _MAY_GROW * earlier, f"after the replacements there are {later} {what}, not {earlier}")
    trial.expect(not any(map(trial.tools.watchers, images)), "a watcher is left")


def _held_at_rest(server: Server) -> Held:
    """Say what a server holds when what it replaced has gone."""
    wait_until(lambda: len(workers_of(server)) <= 1)
    return Held.by(server)


def _addresses(admin: rados.Rados) -> list[str]:
    """Give the addresses under which the other user is connected; `ceph tell` would say so too, but takes longer."""
    status, output, text = admin.mon_command('{"prefix": "sessions", "format": "json"}', b"", target="a")
    assert status == 0, text
    addresses = [each["addrs"]["addrvec"][0] for each in json.loads(output) if each["entity_name"] == _OTHER_USER]
    return [f"{address['addr']}/{address['nonce']}" for address in addresses]


SCENARIOS = (
    Scenario("client blocklisted in the middle of 64 calls", _blocklist, callers=64, heals_within=1.0),
    Scenario("key rotated", _rotate_key),
    Scenario(
        "caps taken away and given back", _take_caps_away, brings=frozenset({"CEPH_CAPS_MISSING", "CEPH_AUTH_REJECTED"})
    ),
    Scenario("configuration changed again and again", _configure_again_and_again),
    Scenario("connection replaced again and again", _replace_again_and_again, callers=0),
)
