"""What states are made with: Ceph's own tools, and librbd as client.admin."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import rbd

from rbd_connect.devcluster import DevCluster
from support.tools import Tools
from support.waiting import wait_until

__all__ = ["MIB", "Maker", "Target"]

MIB = 1 << 20


@dataclass
class Target:
    """The image that calls are tried on, by which scope, and the pools whose objects a refusal must not change.

    ``is_readable`` says whether `rbd` can read the image, or would wait for ever.
    """

    pool: str
    image: str
    snapshot: str = "first"
    scope: str = "test"
    pools: list[str] = field(default_factory=list)
    is_readable: bool = True

    @property
    def at(self) -> str:
        """The image as `rbd` names it."""
        return f"{self.pool}/{self.image}"


@dataclass(frozen=True)
class Maker:
    """Makes states on one cluster."""

    cluster: DevCluster
    tools: Tools

    def rbd(self, *words: str) -> str:
        return self.tools.rbd(*words)

    def ceph(self, *words: str) -> str:
        return self.tools.ceph(*words)

    def pool(self, name: str) -> str:
        """Make a pool for images, and give its name."""
        self.cluster.create_pool(name)
        return name

    def image(self, target: Target, *options: str) -> None:
        """Make the image: 16 MiB, 8 MiB written, a snapshot, the first 4 MiB written anew."""
        self.rbd("create", "--size", "16M", *options, target.at)
        self.write(target, 0, 8 * MIB)
        self.snapshot(target.at, target.snapshot)
        self.write(target, 0, 4 * MIB)

    def write(self, target: Target, offset: int, length: int) -> None:
        with self.tools.ioctx(target.pool) as ioctx, rbd.Image(ioctx, target.image) as image:
            image.write(b"x" * length, offset)

    def snapshot(self, at: str, name: str) -> None:
        self.rbd("snap", "create", "--no-progress", "--snap", name, at)

    def clone(self, target: Target, parent_pool: str, *, version: int = 2, snapshot: str | None = "first") -> str:
        """Make the image as a clone of another, and give the parent's place."""
        parent = Target(pool=parent_pool, image=f"{target.image}-parent", snapshot="base")
        self.image(parent)
        if version == 1:
            self.rbd("snap", "protect", f"{parent.at}@base")
        self.rbd("clone", f"--rbd-default-clone-format={version}", f"{parent.at}@base", target.at)
        if snapshot is not None:
            self.snapshot(target.at, snapshot)
        return parent.at

    def image_of_format_1(self, target: Target) -> None:
        with self.tools.ioctx(target.pool) as ioctx:
            rbd.RBD().create(ioctx, target.image, 16 * MIB, old_format=True)
        self.write(target, 0, 8 * MIB)
        self.snapshot(target.at, target.snapshot)

    def mirrored(self, target: Target, mode: str) -> None:
        self.rbd("mirror", "pool", "enable", target.pool, "image")
        self.rbd("mirror", "image", "enable", target.at, mode)

    def migrated(self, target: Target, *steps: str) -> str:
        """Make the image by migrating one from another pool, and give the name of that pool."""
        source = Target(pool=self.pool(f"source-of-{target.image}"), image=target.image)
        self.image(source)
        self.rbd("migration", "prepare", source.at, target.at)
        for step in steps:
            self.rbd("migration", step, "--no-progress", target.at)
        return source.pool

    def many_snapshots(self, target: Target, number: int) -> None:
        with self.tools.ioctx(target.pool) as ioctx, rbd.Image(ioctx, target.image) as image:
            for which in range(number):
                image.create_snap(f"snapshot-{which}")

    def invalidate_map(self, target: Target) -> None:
        """What is enabled later is not known of what was written before."""
        self.rbd("feature", "disable", target.at, "fast-diff", "object-map")
        self.rbd("feature", "enable", target.at, "object-map", "fast-diff")
        assert "object map invalid" in self.rbd("info", target.at)

    def snapshot_of_kind(self, target: Target, kind: str) -> str:
        """The name of the image's snapshot of some kind, as `rbd snap ls --all` prints it."""
        listed = self.tools.rbd_json("snap", "ls", "--all", target.at)
        (name,) = [snapshot["name"] for snapshot in listed if snapshot["namespace"]["type"] == kind]
        return str(name)

    def snapshot_by_librbd(self, target: Target, name: str) -> None:
        """`rbd` takes no slash in the name of a snapshot; librbd does."""
        with self.tools.ioctx(target.pool) as ioctx, rbd.Image(ioctx, target.image) as image:
            image.create_snap(name)

    def image_id(self, target: Target) -> str:
        return str(self.tools.rbd_json("info", target.at)["id"])

    def rados(self, pool: str, *words: str) -> None:
        self.tools.objects("--pool", pool, *words)

    def remove_pool(self, name: str) -> None:
        self.cluster.delete_pool(name)

    @contextmanager
    def quota(self, pool: str) -> Iterator[None]:
        """Let a pool's quota be reached."""
        self.ceph("osd", "pool", "set-quota", pool, "max_bytes", "1000")
        wait_until(lambda: "full_quota" in self._flags(pool))
        try:
            yield
        finally:
            self.ceph("osd", "pool", "set-quota", pool, "max_bytes", "0")
            wait_until(lambda: "full_quota" not in self._flags(pool))

    @contextmanager
    def unserved(self, pool: str) -> Iterator[None]:
        """Let no OSD serve a pool: it wants two replicas, and there is one OSD."""
        self.ceph("osd", "pool", "set", pool, "min_size", "1")
        self.ceph("osd", "pool", "set", pool, "size", "2")
        self.ceph("osd", "pool", "set", pool, "min_size", "2")
        stuck = {"stuckops": ["inactive"], "threshold": 2}
        wait_until(lambda: self.cluster.command("pg dump_stuck", **stuck)["stuck_pg_stats"])
        try:
            yield
        finally:
            self.ceph("osd", "pool", "set", pool, "min_size", "1")
            self.ceph("osd", "pool", "set", pool, "size", "1", "--yes-i-really-mean-it")
            self.cluster.wait_until_clean()

    @contextmanager
    def client(self, target: Target, *, writes: bool, locks: bool = False) -> Iterator[None]:
        """Let another client have the image open while calls are tried."""
        script = f"""
import rados, rbd, sys
with rados.Rados(conffile={str(self.cluster.conf)!r}, name="client.admin") as connection:
    with connection.open_ioctx({target.pool!r}) as ioctx, rbd.Image(ioctx, {target.image!r}) as image:
        {"image.write(b'x', 0)" if writes else ""}
        {"image.lock_exclusive('by hand')" if locks else ""}
        print("open", flush=True)
        sys.stdin.read()
"""
        process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        try:
            yield
        finally:
            process.communicate()

    def _flags(self, pool: str) -> list[str]:
        for found in self.cluster.command("osd pool ls", detail="detail"):
            if found["pool_name"] == pool:
                return str(found["flags_names"]).split(",")
        return []
