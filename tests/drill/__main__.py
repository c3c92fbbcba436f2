"""`python -m drill`: the drills that are asked for, in one table."""

import sys
from collections import Counter
from collections.abc import Sequence

import click

from .drills import Drill, Report, run
from .program import PROGRAM
from .stage import FULL, SHORT, staged

_WIDTH = 48
_MOST_SHOWN = 10


@click.command()
@click.option("--only", default="", help="Drills whose names have this in them.")
@click.option("--short", is_flag=True, help="Let faults last for seconds only.")
def main(only: str, *, short: bool) -> None:
    """Break things while calls go on, and see what became of each call. Ends with 1 where that is wrong."""
    program = [(shape, [drill for drill in drills if only in drill.name]) for shape, drills in PROGRAM]
    total = sum(len(drills) for _, drills in program)
    if not total:
        raise click.BadParameter(f"no drill has {only!r} in its name", param_hint="--only")
    click.echo(f"{'drill':<{_WIDTH}}{'calls':>7}{'checked':>9}{'heal s':>8}{'all s':>7}  verdict")
    fine = True
    with click.progressbar(length=total, file=sys.stderr, label="Drilling", item_show_func=_name) as bar:
        for shape, drills in program:
            if drills:
                with staged(SHORT if short else FULL, shape) as stage:
                    for drill in drills:
                        bar.update(0, drill)
                        report = run(drill, stage)
                        fine &= report.is_fine
                        click.echo("\n".join(_lines(report)))
                        bar.update(1)
    sys.exit(0 if fine else 1)


def _name(drill: Drill | None) -> str | None:
    return drill.name if drill else None


def _lines(report: Report) -> Sequence[str]:
    verdict = report.verdict
    word = "right" if report.is_fine else "WRONG"
    figures = (
        f"{len(report.records):>7}{verdict.looked_at:>9}{_seconds(report.heal):>8}{_seconds(report.everywhere):>7}"
    )
    lines = [f"{report.drill.name:<{_WIDTH}}{figures}  {word}", f"    {_counted(verdict.outcomes)}"]
    if verdict.unknown:
        lines.append(f"    of unknown outcome: {_counted(verdict.unknown)}")
    if report.drill.checks:
        lines.append(f"    also checked: {report.drill.checks}")
    return lines + [f"    WRONG: {wrong}" for wrong in verdict.wrong[:_MOST_SHOWN]]


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counter.most_common())


if __name__ == "__main__":
    main()
