"""Other clients that have an image open and write: alive, frozen, killed."""

import signal
import time
from collections.abc import Callable

import rbd

from ..environment import Trial
from ..point_in_time import Writer, problems, writing
from ..scenario import Scenario

__all__ = ["SCENARIOS"]

# As long as Ceph waits for a client that has the lock and says nothing, and a little for what follows.
_PATIENCE_SECONDS = 45.0
_UNNOTICED_SECONDS = 5.0


def _alive(trial: Trial, features: int | None = None) -> None:
    """Its numbers say whether each snapshot is a point in time."""
    images = trial.environment.new_images(2, features=features)
    for image in images:
        with writing(trial.tools, image, trial.environment.folder) as writer:
            with trial.traffic.on(trial.environment.server, [image], 2):
                time.sleep(4 * trial.environment.pace.calm)
            writer.kill()
            trial.wrong.extend(problems(trial.tools, writer, trial.traffic.records))


def _without_lock(trial: Trial) -> None:
    _alive(trial, rbd.RBD_FEATURE_LAYERING)


def _stopped(trial: Trial, stop: Callable[[Writer], None]) -> None:
    """The server's next call on the image takes the lock from it; the other images do not notice."""
    image = trial.environment.new_images(1)[0]
    with writing(trial.tools, image, trial.environment.folder) as writer:
        stop(writer)
        stopped = time.perf_counter()
        with trial.traffic.on(trial.environment.server, [image], 2):
            taken = trial.traffic.success_everywhere(stopped, _PATIENCE_SECONDS, [image])
            others = trial.traffic.success_everywhere(stopped, _PATIENCE_SECONDS, trial.images)
        trial.expect(taken is not None, f"no call got the lock from a writer within {_PATIENCE_SECONDS:g} s")
        trial.expect(others is not None and others < _UNNOTICED_SECONDS, f"other images took {others} s meanwhile")


def _frozen(trial: Trial) -> None:
    _stopped(trial, lambda writer: writer.send_signal(signal.SIGSTOP))


def _killed(trial: Trial) -> None:
    _stopped(trial, Writer.kill)


_CHECKS = "each snapshot has all that was acknowledged before it was asked for, and nothing issued after its answer"

SCENARIOS = (
    Scenario("exclusive lock held by a live writer", _alive, checks=_CHECKS),
    Scenario("a live writer without exclusive lock", _without_lock, checks=_CHECKS),
    Scenario(
        "exclusive lock held by a frozen writer", _frozen, checks="the lock is taken over within 45 s", takes_long=True
    ),
    Scenario(
        "exclusive lock held by a writer that was killed",
        _killed,
        checks="the lock is taken over within 45 s",
        takes_long=True,
    ),
)
