"""Threads that share a question: nobody gets an answer that is older than his call."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rbd_connect.common.threaded_single_flight import SingleFlight
from support.waiting import wait_until

CALLERS = 16


def test_one_caller_asks_each_time() -> None:
    flight: SingleFlight[int] = SingleFlight()
    numbers = itertools.count()
    assert [flight.ask(lambda: next(numbers)) for _ in range(3)] == [0, 1, 2]


def test_callers_that_come_while_it_is_asked_share_the_next_answer() -> None:
    flight: SingleFlight[int] = SingleFlight()
    asked = threading.Event()
    go_on = threading.Event()
    numbers = itertools.count(1)

    def slow() -> int:
        asked.set()
        assert go_on.wait(10)
        return next(numbers)

    with ThreadPoolExecutor(CALLERS + 1) as threads:
        first = threads.submit(flight.ask, slow)
        assert asked.wait(10)
        others = [threads.submit(flight.ask, lambda: next(numbers)) for _ in range(CALLERS)]
        wait_until(lambda: flight.waiting == CALLERS)
        go_on.set()
        assert first.result(10) == 1
        assert {other.result(10) for other in others} == {2}


def test_an_answer_was_asked_for_after_its_caller_came() -> None:
    flight: SingleFlight[int] = SingleFlight()
    now = itertools.count()

    def call(_: int) -> bool:
        came = next(now)
        return flight.ask(lambda: next(now)) > came

    with ThreadPoolExecutor(CALLERS) as threads:
        assert all(threads.map(call, range(2000)))


def test_an_error_is_that_of_all_who_waited_and_the_next_asks_anew() -> None:
    flight: SingleFlight[int] = SingleFlight()

    def fails() -> int:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        flight.ask(fails)
    assert flight.ask(lambda: 1) == 1
