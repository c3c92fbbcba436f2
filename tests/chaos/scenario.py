"""What a scenario is, and how one goes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from .environment import Environment, Trial
from .findings import Findings, evaluate, look
from .traffic import Record

__all__ = ["Report", "Scenario", "run"]

_PATIENCE_SECONDS = 120.0
# The longest that `rbd snap create` takes during the calls of a scenario. On a busier machine, healing may take longer
# by the same factor.
_YARDSTICK_SECONDS = 0.5


@dataclass(frozen=True)
class Scenario:
    """``fault`` breaks something and mends it. All is healthy as soon as `rbd` makes a snapshot after that.

    ``heals_within`` are the seconds from then until a call on a quiet image has succeeded, ``everywhere_within`` those
    until one has on each image. ``brings`` are the reasons of errors that are no surprise, besides those of a cluster
    in trouble. ``takes_long`` tells scenarios that wait for what Ceph does after half a minute.
    """

    name: str
    fault: Callable[[Trial], None]
    checks: str = ""
    callers: int = 32
    heals_within: float = 5.0
    everywhere_within: float = 10.0
    brings: frozenset[str] = frozenset()
    takes_long: bool = False


@dataclass(frozen=True)
class Report:
    """What a scenario showed. It healed, and did on each image, after so many seconds; None where it never did."""

    scenario: Scenario
    records: list[Record]
    heal: float | None
    everywhere: float | None
    findings: Findings

    @property
    def is_fine(self) -> bool:
        return not self.findings.wrong


def run(scenario: Scenario, environment: Environment) -> Report:
    """Keep calling while something is broken and mended, and see what became of each call."""
    trial = Trial.on(environment)
    with trial.traffic.on(environment.server, trial.images, scenario.callers):
        trial.traffic.success_everywhere(time.perf_counter(), _PATIENCE_SECONDS, trial.images[: scenario.callers])
        time.sleep(environment.pace.calm)
        slowness = max(1.0, _snap_create(trial, "before") / _YARDSTICK_SECONDS)
        scenario.fault(trial)
        _snap_create(trial, "healthy")
        healthy = time.perf_counter()
        left = [image for image in trial.images[: scenario.callers] if image not in trial.gone]
        heal = trial.traffic.first_success(environment.server, trial.quiet_image, _PATIENCE_SECONDS)
        everywhere = trial.traffic.success_everywhere(healthy, _PATIENCE_SECONDS, left)
        time.sleep(environment.pace.calm)
    trial.at_end.close()
    records = trial.traffic.records
    looked = look(environment.tools, {record.image for record in records} - trial.gone)
    findings = evaluate(records, looked, trial.gone, scenario.brings)
    for seconds, limit in ((heal, scenario.heals_within), (everywhere, scenario.everywhere_within)):
        allowed = limit * slowness
        trial.expect(
            seconds is not None and seconds <= allowed, f"it healed after {seconds} s, not within {allowed:.2g}"
        )
    return Report(scenario, records, heal, everywhere, replace(findings, wrong=[*findings.wrong, *trial.wrong]))


def _snap_create(trial: Trial, name: str) -> float:
    """Make a snapshot by `rbd`, and give the seconds it took."""
    started = time.perf_counter()
    trial.tools.rbd("snap", "create", "--no-progress", f"{trial.witness}@{name}")
    return time.perf_counter() - started
