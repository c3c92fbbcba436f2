"""An answer for all who ask at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rbd_connect.common.call_context import CallContext, followed, phase
from rbd_connect.dispatch.single_flight import SingleFlight


class UnluckyError(Exception):
    pass


class Asked:
    """A question whose answers are let out by hand: the first is 1."""

    def __init__(self) -> None:
        self.times = 0
        self.at_once = 0
        self.out = asyncio.Event()

    async def __call__(self) -> int:
        self.times += 1
        self.at_once += 1
        assert self.at_once == 1
        number = self.times
        try:
            await self.out.wait()
        finally:
            self.at_once -= 1
        if number == 13:
            raise UnluckyError
        return number


def run(test: Callable[[Asked, SingleFlight[int]], Awaitable[None]]) -> None:
    async def main() -> None:
        asked = Asked()
        async with asyncio.timeout(5):
            await test(asked, SingleFlight(asked))

    asyncio.run(main())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_comes_while_one_is_asked_for_shares_the_next() -> None:
    async def test(asked: Asked, shared: SingleFlight[int]) -> None:
        first = asyncio.create_task(shared.answer())
        await settle()
        others = [asyncio.create_task(shared.answer()) for _ in range(5)]
        await settle()
        assert asked.times == 1
        asked.out.set()
        assert await first == 1
        assert await asyncio.gather(*others) == [2] * 5
        assert await shared.answer() == 3

    run(test)


def test_who_goes_leaves_the_others_their_answer() -> None:
    async def test(asked: Asked, shared: SingleFlight[int]) -> None:
        goes, stays = (asyncio.create_task(shared.answer()) for _ in range(2))
        await settle()
        goes.cancel()
        asked.out.set()
        assert await stays == 1

    run(test)


def test_what_nobody_waits_for_any_more_is_not_asked() -> None:
    async def test(asked: Asked, shared: SingleFlight[int]) -> None:
        first = asyncio.create_task(shared.answer())
        await settle()
        second = asyncio.create_task(shared.answer())
        await settle()
        second.cancel()
        await settle()
        asked.out.set()
        assert await first == 1
        await settle()
        assert asked.times == 1
        assert await shared.answer() == 2

    run(test)


def test_all_are_told_of_a_failure_and_the_next_are_not() -> None:
    async def test(asked: Asked, shared: SingleFlight[int]) -> None:
        asked.times = 12
        both = [asyncio.create_task(shared.answer()) for _ in range(2)]
        await settle()
        asked.out.set()
        for one in both:
            with pytest.raises(UnluckyError):
                await one
        assert await shared.answer() == 14

    run(test)


def test_all_who_share_an_answer_know_where_its_time_went_also_who_went_before() -> None:
    async def ask() -> int:
        with phase("asked"):
            await asyncio.sleep(0)
        with phase("goes on"):
            await asyncio.sleep(3600)
        return 1

    async def main() -> None:
        shared = SingleFlight(ask)

        async def answer(request_id: str) -> CallContext:
            with followed(request_id) as progress, pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await shared.answer()
            return progress

        for progress in await asyncio.gather(*(answer(str(number)) for number in range(3))):
            spent = progress.spent()
            assert list(spent.phases) == ["asked", "goes on"]
            assert spent.phases["goes on"] > 0.01
            assert spent.under_way == "goes on"
            assert progress.task is not None
        assert progress.task is not None
        progress.task.cancel()

    asyncio.run(main())
