"""The short form of the drills: each breaks something for seconds while calls go on. `make chaos` has the full form."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.drills import Drill, run
from chaos.program import PROGRAM
from chaos.stage import SHORT, Stage, staged

_, DRILLS = PROGRAM[0]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged(SHORT) as stage:
        yield stage
        assert "Traceback" not in stage.server.log.read_text()


@pytest.mark.parametrize("drill", [drill for drill in DRILLS if not drill.takes_long], ids=lambda drill: drill.name)
def test_every_call_is_told_the_truth_and_it_heals(stage: Stage, drill: Drill) -> None:
    logged = len(stage.server.log.read_text())
    report = run(drill, stage)
    lines = stage.server.log.read_text()[logged:].splitlines()
    told = "\n".join(line for line in lines if "Snapshot ok in" not in line)
    assert not report.verdict.wrong, f"{report.verdict}\n{told}"


def test_one_that_needs_two_hosts() -> None:
    """In network namespaces, as `make chaos` makes them."""
    words = ["make", "--no-print-directory", "chaos", "ARGS=--short --soak 0 --only 'network to the cluster'"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
