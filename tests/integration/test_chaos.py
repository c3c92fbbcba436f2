"""The short chaos tests: each breaks something for seconds while calls go on. `make chaos` runs the full ones."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.environment import SHORT, Environment, running_environment
from chaos.program import PROGRAM
from chaos.scenario import Scenario, run

_, SCENARIOS = PROGRAM[0]


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    with running_environment(SHORT) as environment:
        yield environment
        assert "Traceback" not in environment.server.log.read_text()


@pytest.mark.parametrize(
    "scenario", [scenario for scenario in SCENARIOS if not scenario.takes_long], ids=lambda scenario: scenario.name
)
def test_every_call_is_told_the_truth_and_it_heals(environment: Environment, scenario: Scenario) -> None:
    logged = len(environment.server.log.read_text())
    report = run(scenario, environment)
    lines = environment.server.log.read_text()[logged:].splitlines()
    told = "\n".join(line for line in lines if "Snapshot ok in" not in line)
    assert not report.findings.wrong, f"{report.findings}\n{told}"


def test_one_that_needs_two_hosts() -> None:
    """In network namespaces, as `make chaos` makes them."""
    words = ["make", "--no-print-directory", "chaos", "ARGS=--short --soak 0 --only 'network to the cluster'"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
