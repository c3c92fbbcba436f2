"""Reads of images, where some hang."""

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue

import pytest

from rbd_connect.ceph.listing import image_reads
from rbd_connect.ceph.listing.attended_time import AttendedTime
from rbd_connect.ceph.listing.image_reads import ImageReads, Result
from rbd_connect.ceph.listing.unanswered import Unanswered
from rbd_connect.ceph.pools.pool_namespace import PoolNamespace
from rbd_connect.model.resources import Image
from support.waiting import wait_until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a twentieth of the patience."""
    monkeypatch.setattr(image_reads, "_LATE_SECONDS", 0.05)
    monkeypatch.setattr(image_reads, "_SILENT_SECONDS", 0.25)
    monkeypatch.setattr(image_reads, "_LOOK_SECONDS", 0.005)


class Cluster:
    """Images that are read at once, but for those that hang until they are let go."""

    def __init__(self) -> None:
        self.unanswered = Unanswered()
        self.let_go = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self.is_lost = False
        self.pause = 0.0
        self._lock = threading.Lock()

    def read(self, place: PoolNamespace, name: str, tell: Callable[[Image], None] | None) -> Result:
        if self.is_lost:
            raise ConnectionError
        image = Image(name=name, pool=place.pool, namespace=place.namespace, facts=None)
        if name.startswith("hangs"):
            self.let_go.wait()
        if name.startswith("usage") and tell is not None:
            tell(image)
            self.let_go.wait()
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.001)
        with self._lock:
            self.at_once -= 1
        return Result(image, None if tell else "without usage")

    def list(self, names: Mapping[PoolNamespace, list[str]]) -> dict[PoolNamespace, Mapping[str, Result]]:
        events: SimpleQueue[Callable[[], None]] = SimpleQueue()
        reads = ImageReads(self.read, events, self.unanswered, AttendedTime(longest_step=0.01))
        found: dict[PoolNamespace, Mapping[str, Result]] = {}
        for place, of_place in names.items():
            reads.add(place, of_place, lambda results, place=place: found.update({place: results}))  # type: ignore[misc]
        deadline = time.monotonic() + 5
        while not reads.is_idle:
            assert time.monotonic() < deadline
            reads.go_on()
            time.sleep(self.pause)
            self.pause = 0.0
            try:
                event = events.get(timeout=0.005)
            except Empty:
                continue
            event()
        reads.close()
        return found


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def place(number: int) -> PoolNamespace:
    return PoolNamespace(pool_id=number, pool=f"pool-{number}", namespace="")


def named(prefix: str, number: int) -> list[str]:
    return [f"{prefix}-{which}" for which in range(number)]


def test_eight_are_read_at_once_and_all_are(cluster: Cluster) -> None:
    names = {place(number): named("image", 50) for number in range(4)}
    found = cluster.list(names)
    assert {where: sorted(results) for where, results in found.items()} == {
        where: sorted(of_place) for where, of_place in names.items()
    }
    assert all(result.image and not result.problem for results in found.values() for result in results.values())
    assert cluster.most_at_once == 8
    assert not cluster.unanswered


def test_a_list_that_was_paused_gives_nothing_up_that_was_answered_meanwhile(cluster: Cluster) -> None:
    cluster.pause = 0.4
    found = cluster.list({place(number): named("image", 50) for number in range(4)})
    assert all(result.image and not result.problem for results in found.values() for result in results.values())


def test_images_that_hang_hold_up_none_of_their_place_nor_of_others(cluster: Cluster) -> None:
    names = {place(0): named("hangs", 20) + named("image", 20), place(1): named("image", 200)}
    found = cluster.list(names)
    assert {name for name, result in found[place(0)].items() if result.is_only_name} == set(named("hangs", 20))
    assert not any(result.problem for result in found[place(1)].values())
    cluster.let_go.set()


@pytest.mark.parametrize("places", [1, 12])
def test_where_all_hang_a_place_is_given_up_and_threads_are_bounded(cluster: Cluster, places: int) -> None:
    names = {place(number): named("hangs", 500) for number in range(places)} | {place(99): named("image", 500)}
    threads = threading.active_count()
    for _ in range(3):
        found = cluster.list(names)
        assert all(len(results) == 500 for results in found.values())
        assert all(result.is_only_name for where in names if where != place(99) for result in found[where].values())
        assert not any(result.problem for result in found[place(99)].values())
        # Those of a list that has ended are ending, and no more are begun than there may be.
        wait_until(lambda: threading.active_count() <= threads + min(32 * places, 128) + 8)
    cluster.let_go.set()
    deadline = time.monotonic() + 5
    while cluster.unanswered:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert not any(result.problem for results in cluster.list(names).values() for result in results.values())


def test_where_used_bytes_hang_the_rest_is_known_also_in_the_next_list(cluster: Cluster) -> None:
    names = {place(0): named("usage", 100) + named("image", 10)}
    for _ in range(2):
        found = cluster.list(names)
        assert all(result.image for result in found[place(0)].values())
        assert {name for name, result in found[place(0)].items() if result.problem} >= set(named("usage", 100))
    cluster.let_go.set()


def test_what_loses_the_connection_ends_the_list(cluster: Cluster) -> None:
    cluster.is_lost = True
    with pytest.raises(ConnectionError):
        cluster.list({place(0): ["image"]})
