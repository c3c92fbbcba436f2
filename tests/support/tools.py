"""Ceph as its own tools print it: the oracle of the tests."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import rados

from rbd_connect.devcluster import DevCluster


@dataclass(frozen=True)
class Tools:
    """`rbd` and `ceph`, and the bindings as client.admin, on one cluster."""

    cluster: DevCluster

    def rbd(self, *words: str) -> str:
        return self._run("rbd", *words)

    def ceph(self, *words: str) -> str:
        return self._run("ceph", *words)

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
        done = subprocess.run(
            [tool, "--conf", str(self.cluster.conf), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout


def write_scope(name: str, cluster: DevCluster, lines: Sequence[str] = ()) -> str:
    """Write a scope as TOML."""
    return "\n".join([f"[scopes.{name}]", f'conf = "{cluster.conf}"', *lines, ""])
