"""Reading many images side by side, so that those that Ceph does not answer for hold up no others.

librbd gives a thread back when it has been answered, or when its timeouts are over. So a read that is late is not
counted among those under way any more, and the next begins beside it; where some are late, more are tried, so that
those that are not are found soon. Next is an image of the place that has the fewest reads open: where images hang,
others come first. A place that is silent is given up, and what is not read there is known by name. Where used bytes are
what hangs, the others' are not asked for any more.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

from rbd_connect.ceph.pools.pool_namespace import PoolNamespace
from rbd_connect.model.resources import Image

from .attended_time import AttendedTime
from .unanswered import Unanswered

__all__ = ["ImageReads", "Result"]

# Twice as many make a list a tenth faster, and another's create beside it take half as long again.
_AT_ONCE = 8
_LATE_SECONDS = 1.0
_SILENT_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_MOST_OPEN = 96  # each holds a thread, also after the list has ended
_MOST_OPEN_OF_PLACE = 32
_MOST_OPEN_FOR_USAGE = 32

_READS = "reads of images"


@dataclass(frozen=True, slots=True)
class Result:
    """An image, as far as it was read, and what is wrong with it. Where there is no such image, both are None."""

    image: Image | None
    problem: str | None

    @property
    def is_missing(self) -> bool:
        return self.image is None and self.problem is None

    @property
    def is_only_name(self) -> bool:
        return self.image is None and self.problem is not None

    @property
    def is_partial(self) -> bool:
        return self.image is not None and self.problem is not None


# Reads an image. It is given what to tell when all but its used bytes is known; None where these are not to be asked
# for. Raises where nothing more can be read at all.
Read = Callable[[PoolNamespace, str, Callable[[Image], None] | None], Result]
Then = Callable[[Mapping[str, Result]], None]


@dataclass(slots=True, eq=False)
class _Reading:
    """A read of an image, on its way through a thread."""

    place: PoolNamespace
    name: str
    began: float
    with_usage: bool
    known: Image | None = None
    result: Result | None = None
    error: Exception | None = None

    def is_late(self, now: float) -> bool:
        return now - self.began >= _LATE_SECONDS

    @property
    def kinds(self) -> tuple[Hashable, ...]:
        """What to count it by: as a whole until the image is open, and then for its used bytes."""
        key = (self.place, self.name)
        return (_READS, self.place, key) if self.known is None else (_READS, _usage(self.place), _usage(key))


def _usage(key: Hashable) -> Hashable:
    return "usage", key


@dataclass(slots=True, eq=False)
class _Images:
    """The images of a place: those that wait, those that are read, those that were."""

    place: PoolNamespace
    waiting: deque[str]
    then: Then
    heard: float
    open: dict[_Reading, None] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)

    def silent_since(self) -> float:
        return max(self.heard, min(reading.began for reading in self.open))


@dataclass(frozen=True, slots=True)
class _Hung:
    """The reads that are open and late, also those of lists before."""

    unanswered: Unanswered
    in_time: "Counter[PoolNamespace]"

    def of(self, place: PoolNamespace) -> int:
        return max(0, self.unanswered.of(place) - self.in_time[place])

    def forbids(self, place: PoolNamespace) -> bool:
        """Say whether too many hang for another to be begun in a place: there, or everywhere and some there."""
        open_everywhere = self.unanswered.of(_READS)
        if self.of(place):
            return open_everywhere >= _MOST_OPEN or self.unanswered.of(place) >= _MOST_OPEN_OF_PLACE
        return open_everywhere - self.in_time.total() >= _MOST_OPEN + _AT_ONCE


class ImageReads:
    """Images that are read. Its methods are for one thread, which also calls what comes into ``events``."""

    def __init__(
        self, read: Read, events: "SimpleQueue[Callable[[], None]]", unanswered: Unanswered, time: AttendedTime
    ) -> None:
        self._read = read
        self._events = events
        self._unanswered = unanswered
        self._places: dict[PoolNamespace, _Images] = {}
        self._open: dict[_Reading, None] = {}
        self._tasks: SimpleQueue[_Reading | None] = SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._time = time
        self._moved = time.now  # when one began or ended
        self._looked = float("-inf")

    @property
    def is_idle(self) -> bool:
        return not self._places

    def add(self, place: PoolNamespace, names: Iterable[str], then: Then) -> None:
        """Read the images of a place, and give what became of each."""
        self._places[place] = _Images(place, deque(names), then, self._time.now)

    def go_on(self) -> None:
        """Begin what can be begun, and give up what is silent."""
        now = self._time.look()
        while (images := self._next(now)) is not None:
            self._begin(images, now)
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        for images in list(self._places.values()):
            if self._is_silent(images, now):
                self._give_up(images)
            self._end_if_done(images)

    def close(self) -> None:
        """Let the threads go, each as soon as it has done."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _next(self, now: float) -> _Images | None:
        """Say where the next image is to be read, if one may be."""
        in_time = sum(not reading.is_late(now) for reading in self._open)
        late = len(self._open) - in_time
        if in_time >= _AT_ONCE + late:
            return None
        if self._unanswered.of(_READS) <= in_time:  # nothing hangs: who has none under way is found at once
            idle = next((images for images in self._places.values() if images.waiting and not images.open), None)
            if idle is not None:
                return idle
        hung = self._hung(now)
        able = [
            images
            for images in self._places.values()
            if images.waiting and not hung.forbids(images.place) and (in_time < _AT_ONCE or hung.of(images.place))
        ]
        return min(able, key=lambda images: self._unanswered.of(images.place), default=None)

    def _hung(self, now: float) -> "_Hung":
        return _Hung(self._unanswered, Counter(reading.place for reading in self._open if not reading.is_late(now)))

    def _is_silent(self, images: _Images, now: float) -> bool:
        if images.open:
            return now - images.silent_since() >= _SILENT_SECONDS
        if not images.waiting:
            return False
        # Nothing of it is read: where that is forbidden, it is for what hangs since before.
        hung = self._hung(now)
        return hung.forbids(images.place) and (hung.of(images.place) > 0 or now - self._moved >= _SILENT_SECONDS)

    def _begin(self, images: _Images, now: float) -> None:
        name = images.waiting.popleft()
        if self._unanswered.of((images.place, name)):
            images.results[name] = Result(None, "an earlier read of it has not ended yet")
            return
        reading = _Reading(images.place, name, now, with_usage=not self._usage_hangs(images, name, now))
        images.open[reading] = self._open[reading] = None
        self._unanswered.add(*reading.kinds)
        self._moved = now
        self._busy += 1
        if self._busy > self._threads:
            threading.Thread(target=self._work, daemon=True).start()
            self._threads += 1
        self._tasks.put(reading)

    def _usage_hangs(self, images: _Images, name: str, now: float) -> bool:
        """Say whether used bytes were asked for in vain, of an image or of many in its place, also by lists before."""
        told = [reading for reading in images.open if reading.known is not None]
        of_before = self._unanswered.of(_usage(images.place)) - len(told)
        late = sum(reading.is_late(now) for reading in told)
        return bool(self._unanswered.of(_usage((images.place, name)))) or of_before + late >= _MOST_OPEN_FOR_USAGE

    def _know(self, reading: _Reading, known: Image) -> None:
        self._unanswered.remove(*reading.kinds)
        reading.known = known
        self._unanswered.add(*reading.kinds)

    def _work(self) -> None:
        """Read one image after the other, on a thread."""
        while (reading := self._tasks.get()) is not None:
            try:
                tell = partial(self._know, reading) if reading.with_usage else None
                reading.result = self._read(reading.place, reading.name, tell)
            except Exception as error:  # noqa: BLE001 - raised where it is waited for
                reading.error = error
            self._unanswered.remove(*reading.kinds)
            self._events.put(partial(self._answered, reading))

    def _answered(self, reading: _Reading) -> None:
        self._busy -= 1
        images = self._places.get(reading.place)
        if images is None or reading not in images.open:
            return
        if reading.error is not None:
            raise reading.error
        del images.open[reading], self._open[reading]
        self._moved = images.heard = self._time.now
        assert reading.result is not None  # noqa: S101 - else there would be an error
        images.results[reading.name] = reading.result
        self._end_if_done(images)

    def _give_up(self, images: _Images) -> None:
        problem = f"Ceph has not answered for {_SILENT_SECONDS:.0f} s"
        for reading in images.open:
            images.results[reading.name] = Result(reading.known, problem)
            del self._open[reading]
        for name in images.waiting:
            images.results[name] = Result(None, f"{problem} for others beside it")
        images.open.clear()
        images.waiting.clear()

    def _end_if_done(self, images: _Images) -> None:
        if not images.waiting and not images.open and self._places.get(images.place) is images:
            del self._places[images.place]
            images.then(images.results)
