"""The network between the server and the cluster: cut, slow, and coming and going."""

import time

from ..environment import Trial
from ..scenario import Scenario

__all__ = ["SCENARIOS"]

_ROUND_TRIP_SECONDS = 0.5
_PATIENCE_SECONDS = 120.0  # for a call under way then: it takes dozens of round trips
_FLAP_SECONDS = 1.0


def _cut_osd(trial: Trial) -> None:
    (osd,) = trial.cluster.command("osd dump")["osds"]
    port = int(osd["public_addrs"]["addrvec"][0]["addr"].rpartition(":")[2])
    with trial.environment.network.cut([port]):
        time.sleep(trial.environment.pace.frozen)


def _cut_all(trial: Trial) -> None:
    with trial.environment.network.cut():
        time.sleep(trial.environment.pace.frozen)


def _delay(trial: Trial) -> None:
    """Calls go on, slowly."""
    with trial.environment.network.delayed(_ROUND_TRIP_SECONDS / 2):
        began = time.perf_counter()
        slowest = trial.traffic.success_everywhere(began, _PATIENCE_SECONDS, trial.images[:1])
        trial.expect(slowest is not None, f"no call succeeded within {_PATIENCE_SECONDS:g} s")


def _flap(trial: Trial) -> None:
    ends = time.monotonic() + trial.environment.pace.frozen
    while time.monotonic() < ends:
        with trial.environment.network.cut():
            time.sleep(_FLAP_SECONDS)
        time.sleep(_FLAP_SECONDS)


# On two hosts.
SCENARIOS = (
    Scenario("network to the OSD cut", _cut_osd),
    Scenario("network to the cluster cut", _cut_all),
    Scenario("network delayed by 500 ms", _delay, checks="calls succeed meanwhile"),
    Scenario("network flapping", _flap),
)
