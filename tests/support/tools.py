"""Ceph as its own tools print it: the oracle of the tests."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import rados
import rbd

from rbd_connect.devcluster import Daemon, DevCluster

_READS = {"diff", "du", "info", "ls", "status"}
_STUCK_SECONDS = 60.0
_HELD_SECONDS = 3600


class ToolFailedError(AssertionError):
    """One of Ceph's tools failed. Its text has what it printed."""


@dataclass(frozen=True)
class Tools:
    """`rbd` and `ceph`, and the bindings as client.admin, on one cluster."""

    cluster: DevCluster

    def rbd(self, *words: str) -> str:
        return self._run("rbd", *words)

    def ceph(self, *words: str) -> str:
        return self._run("ceph", *words)

    def objects(self, *words: str) -> str:
        """Run `rados`."""
        return self._run("rados", *words)

    def rbd_json(self, *words: str) -> Any:  # noqa: ANN401 - what JSON holds
        return json.loads(self.rbd(*words, "--format", "json"))

    def snapshots(self, image: str) -> list[dict[str, Any]]:
        """What `rbd snap ls` prints of an image."""
        listed = self.rbd_json("snap", "ls", image)
        assert isinstance(listed, list)
        return listed

    def snapshot(self, image: str, name: str) -> dict[str, Any]:
        (snapshot,) = [snapshot for snapshot in self.snapshots(image) if snapshot["name"] == name]
        return snapshot

    def used_bytes(self, image: str, snapshot: str) -> int:
        """What `rbd du` prints for a snapshot."""
        rows = self.rbd_json("du", f"{image}@{snapshot}")["images"]
        (row,) = [row for row in rows if row.get("snapshot") == snapshot]
        return int(row["used_size"])

    def used_by_diff(self, image: str) -> dict[str, int]:
        """What `rbd diff` prints of each snapshot: the same, also where one has no object map and `rbd du` fails."""
        used = {}
        since: list[str] = []
        for snapshot in self.snapshots(image):
            extents = self.rbd_json("diff", "--whole-object", *since, f"{image}@{snapshot['name']}")
            used[snapshot["name"]] = sum(int(extent["length"]) for extent in extents if extent["exists"] == "true")
            since = ["--from-snap", snapshot["name"]]
        return used

    def delete(self, image: str) -> None:
        """Delete an image and its snapshots."""
        self.rbd("snap", "purge", "--no-progress", image)
        self.rbd("rm", "--no-progress", image)

    def watchers(self, image: str) -> list[Any]:
        """Who has the image open, as `rbd status` prints it."""
        watchers = self.rbd_json("status", image)["watchers"]
        assert isinstance(watchers, list)
        return watchers

    def lockers(self, image: str) -> list[Any]:
        """Who holds a lock on the image, as `rbd lock ls` prints it."""
        lockers = self.rbd_json("lock", "ls", image)
        assert isinstance(lockers, list)
        return lockers

    def addresses(self, user: str) -> list[str]:
        """The addresses under which a Ceph user is connected to the monitor."""
        sessions = json.loads(self.ceph("tell", "mon.a", "sessions", "--format", "json"))
        found = [session["addrs"]["addrvec"][0] for session in sessions if session["entity_name"] == user]
        return [f"{address['addr']}/{address['nonce']}" for address in found]

    @contextmanager
    def ioctx(self, pool: str = "rbd", namespace: str = "") -> Iterator[rados.Ioctx]:
        with (
            rados.Rados(conffile=str(self.cluster.conf), name="client.admin") as connection,
            connection.open_ioctx(pool) as ioctx,
        ):
            ioctx.set_namespace(namespace)
            yield ioctx

    def _run(self, *words: str) -> str:
        tool, *arguments = words
        run = partial(
            subprocess.run,
            [tool, "--conf", str(self.cluster.conf), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
        done = None
        if tool == "rbd" and not _READS.isdisjoint(arguments[:2]):
            # What reads can be asked again: `rbd` is stuck at times (https://tracker.ceph.com/issues/62832), or aborts
            # as it closes several images at once, with all it should print unprinted.
            with suppress(subprocess.TimeoutExpired):
                done = run(timeout=_STUCK_SECONDS)
        if done is None or done.returncode < 0:
            done = run()
        if done.returncode:
            raise ToolFailedError(f"{words}: {done.stderr}")
        return done.stdout


@contextmanager
def frozen(daemon: Daemon) -> Iterator[None]:
    """Stop a daemon for a while, as a machine in trouble does."""
    daemon.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        daemon.send_signal(signal.SIGCONT)


@contextmanager
def held_up(tools: Tools, *images: str, pool: str = "rbd") -> Iterator[Callable[[str], bool]]:
    """Keep the changes of some images of a pool from ending: they wait for a lock, as another server takes it.

    Give what says whether a server has an image open, and so waits there.
    """
    with tools.ioctx(pool) as ioctx, ExitStack() as stack:
        opened = {name: stack.enter_context(rbd.Image(ioctx, name)) for name in images}
        for image in opened.values():
            lock = (f"rbd_header.{image.id()}", "rbd-connect", "of another server")
            # Without a duration the binding gives librados one of uninitialised microseconds.
            ioctx.lock_exclusive(*lock, "", _HELD_SECONDS, 0)
            stack.callback(ioctx.unlock, *lock)
        yield lambda name: len(list(opened[name].watchers_list())) > 1


def kill_lock_owner(tools: Tools, image: str) -> None:
    """Let a client take the exclusive lock, and kill it."""
    script = f"""
import rados, rbd, sys
with rados.Rados(conffile={str(tools.cluster.conf)!r}, name="client.admin") as connection:
    with connection.open_ioctx("rbd") as ioctx, rbd.Image(ioctx, {image!r}) as opened:
        opened.write(b"x", 0)
        print("locked", flush=True)
        sys.stdin.read()
"""
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"locked\n"
    owner.kill()
    owner.communicate()


def write_scope(name: str, cluster: DevCluster, lines: Sequence[str] = ()) -> str:
    """Write a scope as TOML."""
    return "\n".join([f"[scopes.{name}]", f'conf = "{cluster.conf}"', *lines, ""])
