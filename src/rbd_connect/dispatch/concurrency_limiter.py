"""Whose turn it is in a scope: calls on one image go one at a time, first come first served; so many at once in all.

Waiting costs no thread. For one event loop.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field

from connectrpc.code import Code

from rbd_connect.model.errors import RetryableError

__all__ = ["ConcurrencyLimiter"]


@dataclass(slots=True)
class _ImageLock:
    """The calls on one image: one has its turn, others wait."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class ConcurrencyLimiter:
    """The turns of one scope."""

    def __init__(self, *, at_once: int, waiting: int, waiting_per_image: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._most_waiting = waiting
        self._most_waiting_per_image = waiting_per_image
        self._waiting = 0
        self._running = 0
        self._image_locks: dict[Hashable, _ImageLock] = {}

    async def acquire(self, image: Hashable | None) -> None:
        """Wait for a turn; cancelled meanwhile, nothing is held. ``image`` is None for a call that needs no image lock.

        Raises RetryableError where too many wait already.
        """
        image_lock = None if image is None else self._image_locks.get(image, _ImageLock())
        if self._slots.locked() or (image_lock is not None and image_lock.lock.locked()):
            self._check_room(image_lock)
        self._waiting += 1
        if image_lock is not None and image is not None:
            self._image_locks[image] = image_lock
            image_lock.waiting += 1
        try:
            await self._acquire(image_lock)
            self._running += 1
        finally:
            self._waiting -= 1
            if image_lock is not None:
                image_lock.waiting -= 1
                self._forget_unused(image)

    def release(self, image: Hashable | None) -> None:
        """End a turn that was taken."""
        self._slots.release()
        self._running -= 1
        if image is not None:
            self._image_locks[image].lock.release()
            self._forget_unused(image)

    def describe(self) -> str:
        """Say how many have their turn, and how many wait."""
        return f"{self._running} calls have their turn, {self._waiting} wait, on {len(self._image_locks)} images"

    async def _acquire(self, image_lock: _ImageLock | None) -> None:
        """Acquire the image lock first, so that a call that waits for an image holds no slot."""
        if image_lock is None:
            await self._slots.acquire()
            return
        await image_lock.lock.acquire()
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            image_lock.lock.release()
            raise

    def _check_room(self, image_lock: _ImageLock | None) -> None:
        if image_lock is not None and image_lock.waiting >= self._most_waiting_per_image:
            raise RetryableError(
                Code.RESOURCE_EXHAUSTED, "IMAGE_BUSY", f"{image_lock.waiting} calls on this image wait already."
            )
        if self._waiting >= self._most_waiting:
            raise RetryableError(
                Code.RESOURCE_EXHAUSTED, "SCOPE_BUSY", f"{self._waiting} calls in this scope wait already."
            )

    def _forget_unused(self, image: Hashable) -> None:
        image_lock = self._image_locks[image]
        if not image_lock.waiting and not image_lock.lock.locked():
            del self._image_locks[image]
