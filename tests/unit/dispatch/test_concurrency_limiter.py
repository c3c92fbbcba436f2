"""Turns: one call an image at a time, in the order in which they came, and nobody held up by another's image."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from connectrpc.code import Code

from rbd_connect.dispatch.concurrency_limiter import ConcurrencyLimiter
from rbd_connect.model.errors import RetryableError


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(10):
            await scenario()

    asyncio.run(bounded())


async def settled() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def waiting(limiter: ConcurrencyLimiter, image: str | None) -> "asyncio.Task[None]":
    return asyncio.ensure_future(limiter.acquire(image))


def test_calls_on_an_image_go_one_at_a_time_in_the_order_in_which_they_came() -> None:
    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=10, waiting=10, waiting_per_image=10)
        tasks = [waiting(limiter, "a") for _ in range(5)]
        for number in range(5):
            await settled()
            assert [task.done() for task in tasks] == [True] * (number + 1) + [False] * (4 - number)
            limiter.release("a")

    run(scenario)


def test_a_busy_image_holds_up_no_other() -> None:
    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=2, waiting=100, waiting_per_image=100)
        await limiter.acquire("busy")
        others = [waiting(limiter, "busy") for _ in range(50)]
        await settled()
        await asyncio.wait_for(limiter.acquire("quiet"), 1)
        assert not any(task.done() for task in others)
        for task in others:
            task.cancel()

    run(scenario)


def test_no_more_at_once_than_there_is_room_for() -> None:
    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=2, waiting=10, waiting_per_image=10)
        tasks = [waiting(limiter, name) for name in ("a", "b", "c", None)]
        await settled()
        assert [task.done() for task in tasks] == [True, True, False, False]
        limiter.release("a")
        await settled()
        assert [task.done() for task in tasks] == [True, True, True, False]
        limiter.release("c")
        await settled()
        assert all(task.done() for task in tasks)

    run(scenario)


@pytest.mark.parametrize(("limits", "reason"), [((10, 2), "IMAGE_BUSY"), ((2, 10), "SCOPE_BUSY")])
def test_those_for_whom_there_is_no_room_to_wait_are_refused_at_once(limits: tuple[int, int], reason: str) -> None:
    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=5, waiting=limits[0], waiting_per_image=limits[1])
        await limiter.acquire("a")
        tasks = [waiting(limiter, "a") for _ in range(2)]
        await settled()
        with pytest.raises(RetryableError) as refused:
            await limiter.acquire("a")
        assert (refused.value.code, refused.value.reason) == (Code.RESOURCE_EXHAUSTED, reason)
        await limiter.acquire("b")  # need not wait, so there is room
        limiter.release("a")
        await settled()
        assert [task.done() for task in tasks] == [True, False]
        last = waiting(limiter, "a")
        await settled()
        assert not last.done()
        for task in (*tasks, last):
            task.cancel()

    run(scenario)


@pytest.mark.parametrize("at_once", [1, 5])
def test_who_goes_away_gives_up_the_place(at_once: int) -> None:
    """Whether it waits for its image, or for room."""

    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=at_once, waiting=10, waiting_per_image=10)
        await limiter.acquire("a")
        first, second = waiting(limiter, "a"), waiting(limiter, "a" if at_once > 1 else "b")
        await settled()
        first.cancel()
        await settled()
        limiter.release("a")
        await asyncio.wait_for(second, 1)

    run(scenario)


def test_cancelled_while_its_turn_comes_nothing_is_lost() -> None:
    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=1, waiting=10, waiting_per_image=10)
        await limiter.acquire("a")
        unlucky = waiting(limiter, "a")
        await settled()
        limiter.release("a")
        unlucky.cancel()
        await settled()
        await asyncio.wait_for(limiter.acquire("a"), 1)

    run(scenario)


def test_images_that_nobody_calls_are_forgotten() -> None:
    async def scenario() -> None:
        limiter = ConcurrencyLimiter(at_once=1, waiting=10, waiting_per_image=10)
        for number in range(100):
            await limiter.acquire(number)
            late = waiting(limiter, f"{number}")
            await settled()
            late.cancel()
            await settled()
            limiter.release(number)
        await limiter.acquire(None)
        for number in range(11):
            tasks = [waiting(limiter, f"refused-{number}-{other}") for other in range(11)]
            await settled()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert not limiter._image_locks  # noqa: SLF001 - there is nothing else to see it by

    run(scenario)
