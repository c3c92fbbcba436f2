"""What a worker is made of: the messages on its socket, the errors in them, its threads, its pauses."""

import threading
import time
from itertools import islice, pairwise

import pytest
from connectrpc.code import Code
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.common.backoff import pauses
from rbd_connect.dispatch.worker.channel import Decoder, encode
from rbd_connect.dispatch.worker.threads import Threads
from rbd_connect.model.errors import (
    CephError,
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    RetryableError,
    ServiceError,
)
from rbd_connect.model.resources import Snapshot, SnapshotExistsError

SNAPSHOT = Snapshot(id=1, name="s", protected=False, quota_bytes=1, used_bytes=None)


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(0, 3000)))
def test_messages_come_whole_however_their_bytes_come(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(encode, messages))
    decoder = Decoder()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert [message for start, end in pairwise(edges) for message in decoder.feed(data[start:end])] == messages


@pytest.mark.parametrize(
    "error",
    [
        ServiceError(Code.ABORTED, "REASON", "message"),
        NotFoundError("image", "i", "in pool 'p'"),
        RetryableError(Code.UNAVAILABLE, "REASON", "message", seconds=2),
        CephError(Code.UNAVAILABLE, "REASON", "message", 108),
        InvalidRequestError([FieldViolation(field="f", reason="R", description="d")]),
        SnapshotExistsError(SNAPSHOT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_through_as_it_was(error: ServiceError) -> None:
    (other,) = Decoder().feed(encode(error))
    assert type(other) is type(error)
    assert (other.args, vars(other)) == (error.args, vars(error))


def test_pauses_double_up_to_the_longest() -> None:
    assert list(islice(pauses(1, 5), 5)) == [1, 2, 4, 5, 5]


def test_threads_are_let_go_when_they_are_not_needed() -> None:
    threads = Threads(8, period=0)
    before = threading.active_count()
    go = threading.Event()
    for _ in range(8):
        threads.start(go.wait)
    threads.review()
    assert (threading.active_count() - before, threads.running) == (8, 8)
    go.set()
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        threads.review()
        assert time.monotonic() < deadline
    assert threads.running == 0


def test_those_that_are_needed_are_kept() -> None:
    threads = Threads(8, period=0)
    go, went_on = threading.Event(), threading.Event()
    for _ in range(3):
        threads.start(go.wait)
    threads.review()
    threads.review()
    threads.start(went_on.set)
    assert went_on.wait(10)
    assert threads.running >= 3
    go.set()
