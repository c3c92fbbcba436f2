"""The faults once more, while images are also resized, rolled back, and rid of their snapshots."""

from dataclasses import replace
from functools import partial

from ..changes import changes
from ..environment import Trial
from ..scenario import Scenario
from . import client, daemons, servers

__all__ = ["SCENARIOS"]

_IMAGES = 8
_FAULTS = (
    "OSD frozen",
    "OSD killed and restarted",
    "monitor frozen",
    "client blocklisted in the middle of 64 calls",
    "worker process killed",
)


def _while_changing(fault: Scenario, trial: Trial) -> None:
    """Each call is told the truth; then each image is resized, rolled back and deleted."""
    with changes(trial.environment.server, trial.tools, trial.environment.new_images(_IMAGES)) as wrong:
        fault.fault(trial)
    trial.wrong.extend(wrong)


def _scenario(fault: Scenario) -> Scenario:
    return replace(
        fault,
        name=f"delete, rollback, resize: {fault.name.partition(' in the')[0]}",
        fault=partial(_while_changing, fault),
        checks="the images are what was told, and each can be resized, rolled back and deleted",
    )


SCENARIOS = tuple(
    _scenario(fault) for fault in (*daemons.SCENARIOS, *client.SCENARIOS, *servers.SCENARIOS) if fault.name in _FAULTS
)
