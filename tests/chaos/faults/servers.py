"""Servers that end: told to, or killed."""

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from support.clients import create, request
from support.cluster import SCOPE
from support.server import Server, workers_of
from support.tools import held_up
from support.waiting import wait_until

from ..environment import Trial
from ..scenario import Scenario

__all__ = ["SCENARIOS"]

_IN_FLIGHT = 64
# What a server leaves when it is killed, Ceph forgets after that many seconds: watchers, and locks with a lease.
_LEASE_SECONDS = 45.0


def _terminated(trial: Trial) -> None:
    """All 64 calls succeed, and it ends with 0."""
    images = trial.environment.new_images(_IN_FLIGHT)
    with trial.environment.another_server() as server:
        _end_in_flight(trial, server, images, signal.SIGTERM)
        trial.expect(server.process.wait(30) == 0, f"the server ended with {server.process.returncode}")
    outcomes = Counter(record.answer.code for record in trial.traffic.records if record.image in images)
    trial.expect(outcomes == {None: _IN_FLIGHT}, f"calls in flight ended with {outcomes}")


def _killed(trial: Trial) -> None:
    """A retry through the other server settles each call; and each image can be opened, snapshotted, deleted."""
    images = trial.environment.new_images(_IN_FLIGHT)
    with trial.environment.another_server(ends_with=-signal.SIGKILL) as server:
        _end_in_flight(trial, server, images, signal.SIGKILL)
    killed = time.perf_counter()
    snapshots = {record.image: record.snapshot for record in trial.traffic.records if record.image in images}

    def retry(image: str) -> str | None:
        pool, _, name = image.partition("/")
        return create(trial.environment.server, request(pool, name, snapshots[image], scope=SCOPE)).code

    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        codes = Counter(pool.map(retry, images))
        trial.expect(not codes.keys() - {None, "already_exists"}, f"retries were answered {codes}")
        list(pool.map(trial.tools.delete, images[: _IN_FLIGHT // 2]))
    trial.gone.update(images[: _IN_FLIGHT // 2])
    took = time.perf_counter() - killed
    trial.expect(took < _LEASE_SECONDS, f"it took {took:.0f} s until what the killed server held was free")


def _one_of_two_killed(trial: Trial) -> None:
    """Both serve the same images."""
    with (
        trial.environment.another_server(ends_with=-signal.SIGKILL) as other,
        trial.traffic.on(other, trial.images, 32),
    ):
        time.sleep(trial.environment.pace.calm)
        other.process.kill()


def _kill_worker(trial: Trial) -> None:
    """As librbd does where it aborts. The server goes on with another."""
    for worker in workers_of(trial.environment.server):  # one that was replaced may not have ended yet
        os.kill(worker, signal.SIGKILL)


def _end_in_flight(trial: Trial, server: Server, images: Sequence[str], number: int) -> None:
    """Send a server a signal while a call on each image waits for a lock; return when all have ended."""
    names = [image.partition("/")[2] for image in images]
    with ExitStack() as calls, held_up(trial.tools, *names) as is_held:
        calls.enter_context(trial.traffic.once(server, images))
        wait_until(lambda: all(map(is_held, names)))
        server.process.send_signal(number)


SCENARIOS = (
    Scenario("server SIGTERMed with 64 calls in flight", _terminated, checks="all 64 succeed, and it ends with 0"),
    Scenario(
        "server SIGKILLed with 64 calls in flight",
        _killed,
        checks="a retry settles each, and the images can be snapshotted and deleted, within 45 s",
        takes_long=True,
    ),
    Scenario("worker process killed", _kill_worker),
    Scenario("one of two servers SIGKILLed", _one_of_two_killed, everywhere_within=_LEASE_SECONDS, takes_long=True),
)
