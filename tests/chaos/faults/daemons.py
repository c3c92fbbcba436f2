"""Faults of the cluster's own processes."""

import time

from support.tools import frozen
from support.waiting import wait_until

from ..environment import Trial
from ..scenario import Scenario

__all__ = ["LEADER_DRILLS", "SCENARIOS"]


def _freeze(trial: Trial, name: str) -> None:
    with frozen(trial.cluster.daemons[name]):
        time.sleep(trial.environment.pace.frozen)


def _kill(trial: Trial, *names: str) -> None:
    trial.cluster.kill(*names)
    time.sleep(trial.environment.pace.down)
    trial.cluster.revive(*names)


def _stop_all(trial: Trial) -> None:
    _kill(trial, *trial.cluster.daemons)


def _freeze_beyond_patience(trial: Trial) -> None:
    """As the OSD frozen; for a server whose patience ends before."""
    flags = [f"--ceph-{daemon}-timeout={max(1, trial.environment.pace.frozen // 4):.0f}" for daemon in ("osd", "mon")]
    images = trial.environment.new_images(8)
    with trial.environment.another_server(*flags) as server, trial.traffic.on(server, images, len(images)):
        time.sleep(trial.environment.pace.calm)
        _freeze(trial, "osd.0")
        healed = trial.traffic.success_everywhere(time.perf_counter(), 5.0, images)
        trial.expect(healed is not None, "a server with less patience did not heal within 5 s")


def _kill_leader(trial: Trial) -> None:
    """The others choose another; only at the end it is started again."""
    leader = f"mon.{trial.cluster.command('quorum_status')['quorum_leader_name']}"
    trial.cluster.kill(leader)
    trial.at_end.callback(trial.cluster.revive, leader)
    wait_until(lambda: leader != f"mon.{trial.cluster.command('quorum_status')['quorum_leader_name']}")


SCENARIOS = (
    Scenario("OSD frozen", lambda trial: _freeze(trial, "osd.0")),
    Scenario("OSD frozen for longer than the timeouts", _freeze_beyond_patience),
    Scenario("OSD killed and restarted", lambda trial: _kill(trial, "osd.0")),
    Scenario("monitor frozen", lambda trial: _freeze(trial, "mon.a")),
    Scenario("monitor killed and restarted", lambda trial: _kill(trial, "mon.a")),
    Scenario("whole cluster stopped and started", _stop_all),
)

# With three monitors.
LEADER_DRILLS = (Scenario("leader of three monitors killed", _kill_leader),)
