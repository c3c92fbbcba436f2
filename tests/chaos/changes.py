"""Other calls that go on during a scenario: images that are resized, rolled back, and rid of their snapshots."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import rbd

from support.clients import CALLS, Outcome
from support.cluster import SCOPE
from support.server import Server
from support.tools import Tools

from .findings import TROUBLE

__all__ = ["changes"]

_MIB = 1 << 20
_BASE = "base"
_PAUSE_AFTER_ERROR_SECONDS = 0.2
_SETTLED_WITHIN_SECONDS = 45.0  # Ceph takes a client that was killed for alive for 30 s

_sizes = (24 * _MIB, 8 * _MIB)


@contextmanager
def changes(server: Server, tools: Tools, images: Sequence[str]) -> Iterator[list[str]]:
    """Keep changing images. Give a list that has, at the end, what was wrong of that.

    At the end, too, each image is resized, rolled back and deleted.
    """
    changers = [_Changer(server, tools, image, number) for number, image in enumerate(images)]
    done = threading.Event()
    wrong: list[str] = []
    with ThreadPoolExecutor(len(changers)) as pool:
        running = [pool.submit(changer.keep_changing, done) for changer in changers]
        try:
            yield wrong
        finally:
            done.set()
        for each in running:
            each.result()
        wrong.extend(problem for found in pool.map(_Changer.settled, changers) for problem in found)


@dataclass
class _Changer:
    """One image, which has a snapshot to roll back to. ``told`` has how making and deleting each other one ended."""

    server: Server
    tools: Tools
    image: str
    number: int
    told: dict[str, tuple[Outcome, Outcome]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        pool, _, name = self.image.partition("/")
        with self.tools.ioctx(pool) as ioctx, rbd.Image(ioctx, name) as opened:
            self._size, self._content = opened.size(), opened.read(0, opened.size())
            opened.create_snap(_BASE)
            opened.write(b"y" * _MIB, 0)

    def keep_changing(self, done: threading.Event) -> None:
        for turn in count():
            if done.is_set():
                return
            name = f"c{turn}"
            self._call("UpdateImage", quotaBytes=_sizes[turn % 2])
            created = self._call("CreateImageSnapshot", snapshotName=name)
            self.told[name] = created, self._call("DeleteImageSnapshot", "SNAPSHOT_NOT_FOUND", snapshotName=name)
            self._call("RollbackImageSnapshot", "IMAGE_IN_USE", snapshotName=_BASE)

    def settled(self) -> list[str]:
        """See that each call can be made by now, and that the image is what all were told. Give what is wrong."""
        self._succeed("UpdateImage", quotaBytes=_sizes[0])
        self._expect(self.tools.rbd_json("info", self.image)["size"] == _sizes[0], "is not of the size that was told")
        self._succeed("RollbackImageSnapshot", snapshotName=_BASE)
        pool, _, name = self.image.partition("/")
        with self.tools.ioctx(pool) as ioctx, rbd.Image(ioctx, name, read_only=True) as opened:
            is_back = opened.size() == self._size and opened.read(0, self._size) == self._content
        self._expect(is_back, "is not what it was at the snapshot to which it was rolled back")
        listed = {snapshot["name"] for snapshot in self.tools.snapshots(self.image)}
        for snapshot, (created, deleted) in self.told.items():
            self._expect(
                _may_be(created, deleted, is_there=snapshot in listed),
                f"{snapshot} was made ({created.code}), deleted ({deleted.code}), and is there: {snapshot in listed}",
            )
        for snapshot in listed:
            self._succeed("DeleteImageSnapshot", snapshotName=snapshot)
        self._succeed("DeleteImage")
        self._expect(name not in self.tools.rbd_json("ls", pool), "is there, although it was deleted")
        return self.wrong

    def _call(self, rpc: str, *may_be: str, **fields: object) -> Outcome:
        pool, _, name = self.image.partition("/")
        body: dict[str, Any] = {"scope": SCOPE, "poolName": pool, "imageName": name, **fields}
        outcome = list(CALLS.values())[self.number % len(CALLS)](self.server, body, rpc)
        if outcome.code is not None:
            self._expect(outcome.reason in TROUBLE | set(may_be), f"{rpc} was answered {outcome.code} {outcome.reason}")
            time.sleep(_PAUSE_AFTER_ERROR_SECONDS)
        return outcome

    def _succeed(self, rpc: str, **fields: object) -> None:
        """Call until it is answered well, for as long as somebody who died may be in the way."""
        deadline = time.monotonic() + _SETTLED_WITHIN_SECONDS
        while (outcome := self._call(rpc, "IMAGE_IN_USE", **fields)).code is not None:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.image}: {rpc} is still answered {outcome}")

    def _expect(self, holds: object, what: str) -> None:
        if not holds:
            self.wrong.append(f"{self.image}: {what}")


def _may_be(created: Outcome, deleted: Outcome, *, is_there: bool) -> bool:
    """Say whether a snapshot may be there, or not, after what was told of making and deleting it."""
    is_unknown = created.code is not None and created.reason == "OUTCOME_UNKNOWN"
    if deleted.code is None:
        return not is_there
    if deleted.reason == "SNAPSHOT_NOT_FOUND":
        return created.code is not None and (is_unknown or not is_there)
    return deleted.reason == "OUTCOME_UNKNOWN" or is_unknown or is_there == (created.code is None)
