"""Whose turn it is in a scope: calls on one image go one at a time, first come first served; so many at once in all.

Waiting costs no thread. For one event loop.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field

from connectrpc.code import Code

from rbd_connect.model.errors import TryLaterError

__all__ = ["Turns"]


@dataclass(slots=True)
class _Lane:
    """The calls on one image: one has its turn, others wait."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Turns:
    """The turns of one scope."""

    def __init__(self, *, at_once: int, waiting: int, waiting_per_image: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most_waiting = waiting
        self._most_waiting_per_image = waiting_per_image
        self._waiting = 0
        self._running = 0
        self._lanes: dict[Hashable, _Lane] = {}

    async def take(self, image: Hashable | None) -> None:
        """Wait for a turn; cancelled meanwhile, the place is given up. ``image`` is None for what needs no lane.

        Raises TryLaterError where too many wait already.
        """
        lane = None if image is None else self._lanes.get(image, _Lane())
        if self._slots.locked() or (lane is not None and lane.lock.locked()):
            self._check_room(lane)
        self._waiting += 1
        if lane is not None and image is not None:
            self._lanes[image] = lane
            lane.waiting += 1
        try:
            await self._acquire(lane)
            self._running += 1
        finally:
            self._waiting -= 1
            if lane is not None:
                lane.waiting -= 1
                self._forget_unused(image)

    def give_back(self, image: Hashable | None) -> None:
        """End a turn that was taken."""
        self._slots.release()
        self._running -= 1
        if image is not None:
            self._lanes[image].lock.release()
            self._forget_unused(image)

    def describe(self) -> str:
        """Say how many have their turn, and how many wait."""
        return f"{self._running} calls have their turn, {self._waiting} wait, on {len(self._lanes)} images"

    async def _acquire(self, lane: _Lane | None) -> None:
        """Take the lane first: who waits for an image holds nobody up."""
        if lane is None:
            await self._slots.acquire()
            return
        await lane.lock.acquire()
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            lane.lock.release()
            raise

    def _check_room(self, lane: _Lane | None) -> None:
        if lane is not None and lane.waiting >= self._most_waiting_per_image:
            raise TryLaterError(
                Code.RESOURCE_EXHAUSTED, "IMAGE_BUSY", f"{lane.waiting} calls on this image wait already."
            )
        if self._waiting >= self._most_waiting:
            raise TryLaterError(
                Code.RESOURCE_EXHAUSTED, "SCOPE_BUSY", f"{self._waiting} calls in this scope wait already."
            )

    def _forget_unused(self, image: Hashable) -> None:
        lane = self._lanes[image]
        if not lane.waiting and not lane.lock.locked():
            del self._lanes[image]
