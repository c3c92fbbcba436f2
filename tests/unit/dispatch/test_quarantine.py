"""Calls during which a worker crashed: which is refused, which is made alone, for how long, how many are remembered."""

from signal import Signals

import pytest
from connectrpc.code import Code

from rbd_connect.dispatch.worker.quarantine import REFUSED_SECONDS, REFUSED_SECONDS_OF_LISTS, CallKey, Quarantine
from rbd_connect.model.errors import PreconditionError

IMAGE = ("rbd", "", "image")
CALL = CallKey("roll_back", IMAGE)
OTHERS = (
    CallKey("delete_image", IMAGE),
    CallKey("roll_back", ("rbd", "namespace", "image")),
    CallKey("roll_back", None),
)
LIST = CallKey("list_images", None)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def reason_of(quarantine: Quarantine, key: CallKey) -> str | None:
    try:
        quarantine.check(key)
    except PreconditionError as error:
        return error.reason
    return None


def test_a_call_that_crashed_its_process_is_refused_for_a_while_and_is_then_made_alone() -> None:
    clock = Clock()
    quarantine = Quarantine(clock)
    told = quarantine.found(CALL, Signals.SIGSEGV)
    assert (told.code, told.reason) == (Code.FAILED_PRECONDITION, "WORKER_CRASHED")
    assert "SIGSEGV" in told.message
    assert reason_of(quarantine, CALL) == "REFUSED_AFTER_CRASH"
    clock.now += REFUSED_SECONDS - 0.1
    assert reason_of(quarantine, CALL) == "REFUSED_AFTER_CRASH"
    clock.now += 0.1
    assert reason_of(quarantine, CALL) is None
    assert quarantine.is_suspect(CALL)
    quarantine.clear(CALL)
    assert not quarantine.is_suspect(CALL)


def test_others_are_as_free_as_before() -> None:
    quarantine = Quarantine()
    quarantine.found(CALL, Signals.SIGABRT)
    assert [(reason_of(quarantine, other), quarantine.is_suspect(other)) for other in OTHERS] == [(None, False)] * 3


def test_a_suspect_is_made_alone_until_it_ended_or_was_found() -> None:
    quarantine = Quarantine()
    for key in (CALL, LIST):
        quarantine.suspect(key)
    assert all(quarantine.is_suspect(key) and reason_of(quarantine, key) is None for key in (CALL, LIST))
    quarantine.clear(LIST)
    quarantine.found(CALL, Signals.SIGSEGV)
    assert not quarantine.is_suspect(LIST)
    assert reason_of(quarantine, CALL) == "REFUSED_AFTER_CRASH"


def test_what_was_found_does_not_become_a_mere_suspect() -> None:
    quarantine = Quarantine()
    quarantine.found(CALL, Signals.SIGSEGV)
    quarantine.suspect(CALL)
    assert reason_of(quarantine, CALL) == "REFUSED_AFTER_CRASH"


def test_a_list_is_refused_for_less_long() -> None:
    clock = Clock()
    quarantine = Quarantine(clock)
    quarantine.found(LIST, Signals.SIGSEGV)
    assert reason_of(quarantine, LIST) == "REFUSED_AFTER_CRASH"
    clock.now += REFUSED_SECONDS_OF_LISTS
    assert REFUSED_SECONDS_OF_LISTS < REFUSED_SECONDS
    assert (reason_of(quarantine, LIST), quarantine.is_suspect(LIST)) == (None, True)


def test_the_latest_are_remembered() -> None:
    quarantine = Quarantine(most=3)
    keys = [CallKey("roll_back", ("rbd", "", str(number))) for number in range(5)]
    for key in keys:
        quarantine.found(key, Signals.SIGSEGV)
    quarantine.suspect(keys[2])  # no news
    assert [quarantine.is_suspect(key) for key in keys] == [False, False, True, True, True]


@pytest.mark.parametrize("key", [CALL, LIST])
def test_what_is_said_fits_what_was_called(key: CallKey) -> None:
    quarantine = Quarantine()
    told = quarantine.found(key, Signals.SIGSEGV)
    with pytest.raises(PreconditionError) as refused:
        quarantine.check(key)
    for message in (told.message, refused.value.message):
        assert ("image" in message) == (key.image is not None)
        assert "ceph health detail" in message
