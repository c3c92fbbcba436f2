"""`python -m drill`: the drills that are asked for, each on a cluster of its own, in one table."""

import sys
import time
from collections import Counter

import click

from .faults import FAULTS, Fault
from .stage import IMAGE_BYTES, Stage, staged
from .traffic import Traffic
from .verdict import Verdict, judge

_CALLERS = 32
_CALM_SECONDS = 2.0
_PATIENCE_SECONDS = 120.0


@click.command()
@click.option("--only", default="", help="Drills whose names have this in them.")
def main(only: str) -> None:
    """Break things while calls go on, and see what became of each call. Ends with 1 where that is wrong."""
    chosen = {name: fault for name, fault in FAULTS.items() if only in name}
    click.echo(f"{'drill':<30}{'calls':>7}{'heal s':>8}  verdict")
    fine = True
    with click.progressbar(chosen.items(), file=sys.stderr, label="Drilling") as drills:
        for name, fault in drills:
            with staged(name.replace(" ", "-")) as stage:
                traffic, heal = _drill(stage, fault)
                verdict = judge(traffic.records, stage.listed(), IMAGE_BYTES)
            fine &= not verdict.wrong and heal is not None
            click.echo(
                f"{name:<30}{len(traffic.records):>7}{_seconds(heal):>8}  {'WRONG' if verdict.wrong else 'right'}"
            )
            _explain(verdict)
    sys.exit(0 if fine else 1)


def _drill(stage: Stage, fault: Fault) -> tuple[Traffic, float | None]:
    """Give what was called, and the seconds from the end of the fault to the first success that was asked since."""
    traffic = Traffic()
    with traffic.on(stage.server, stage.images, _CALLERS):
        time.sleep(_CALM_SECONDS)
        fault(stage)
        heal = traffic.success_after(time.perf_counter(), _PATIENCE_SECONDS)
        time.sleep(_CALM_SECONDS)
    return traffic, heal


def _explain(verdict: Verdict) -> None:
    click.echo(f"    {_counted(verdict.outcomes)}")
    if verdict.unknown:
        click.echo(f"    of unknown outcome: {_counted(verdict.unknown)}")
    for wrong in verdict.wrong:
        click.echo(f"    WRONG: {wrong}")


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counter.most_common())


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f}"


if __name__ == "__main__":
    main()
