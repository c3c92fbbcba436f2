"""Something that is done every so often: as long as it is to be, and whatever becomes of the others."""

import threading
import time

import pytest

from rbd_connect.common.periodic_timer import periodically
from support.waiting import wait_until


def test_it_is_done_over_and_over_and_by_no_thread_of_its_own() -> None:
    ticks: list[str] = []
    with periodically(0.01, lambda: ticks.append("first")):
        threads = threading.active_count()
        with periodically(0.02, lambda: ticks.append("second")), periodically(3600, lambda: ticks.append("late")):
            wait_until(lambda: ticks.count("first") > 3 and ticks.count("second") > 3)
            assert threading.active_count() == threads
    assert "late" not in ticks


def test_at_the_end_it_is_under_way_no_more() -> None:
    began, is_to_end = threading.Event(), threading.Event()
    ended: list[float] = []

    def tick() -> None:
        began.set()
        is_to_end.wait(10)
        ended.append(time.perf_counter())

    with periodically(0.01, tick):
        assert began.wait(10)
        threading.Timer(0.1, is_to_end.set).start()
    assert len(ended) == 1
    with periodically(0.01, began.clear):
        wait_until(lambda: not began.is_set())
    assert len(ended) == 1


def test_one_that_fails_is_told_of_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ticks: list[str] = []

    def fail() -> None:
        ticks.append("failed")
        raise ValueError("as a test wants it")

    with periodically(0.01, fail), periodically(0.01, lambda: ticks.append("went on")):
        wait_until(lambda: ticks.count("failed") > 1 and ticks.count("went on") > 1)
    assert "as a test wants it" in caplog.text
