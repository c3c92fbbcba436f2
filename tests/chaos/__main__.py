"""`python -m scenario`: the scenarios that are asked for, in one table."""

import secrets
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import inf
from statistics import median

import click

from .environment import FULL, SHORT, running_environment
from .findings import Findings
from .program import PROGRAM
from .scenario import Report, Scenario, run
from .soak import growth, soak

_WIDTH = 48
_SOAK = "soak"
_MOST_SHOWN = 10


@click.command()
@click.option("--only", default="", help="Scenarios whose names have one of these in them, with commas.")
@click.option("--short", is_flag=True, help="Let faults last for seconds only.")
@click.option("--soak", "minutes", default=30.0, show_default=True, help="Minutes that the soak lasts; 0: none.")
@click.option("--seed", type=int, help="Repeat the soak's faults and calls: the seed that it printed.")
def main(only: str, minutes: float, seed: int | None, *, short: bool) -> None:
    """Break things while calls go on, and see what became of each call. Ends with 1 where that is wrong."""
    fine = _scenario(only, short=short)
    if minutes and _is_chosen(_SOAK, only):
        fine &= _soak(60 * minutes, seed if seed is not None else secrets.randbits(32))
    sys.exit(0 if fine else 1)


def _scenario(only: str, *, short: bool) -> bool:
    program = [
        (make_environment, [scenario for scenario in scenarios if _is_chosen(scenario.name, only)])
        for make_environment, scenarios in PROGRAM
    ]
    total = sum(len(scenarios) for _, scenarios in program)
    if not total and not _is_chosen(_SOAK, only):
        raise click.BadParameter(f"no scenario has {only!r} in its name", param_hint="--only")
    click.echo(f"{'scenario':<{_WIDTH}}{'calls':>7}{'checked':>9}{'heal s':>8}{'all s':>7}  findings")
    fine = True
    with click.progressbar(length=total, file=sys.stderr, label="Scenarios", item_show_func=_name) as bar:
        for make_environment, scenarios in program:
            if scenarios:
                with make_environment(SHORT if short else FULL) as environment:
                    for scenario in scenarios:
                        bar.update(0, scenario)
                        report = run(scenario, environment)
                        fine &= report.is_fine
                        click.echo("\n".join(_lines(report)))
                        bar.update(1)
    return fine


def _soak(seconds: float, seed: int) -> bool:
    click.echo(f"{_SOAK} of {seconds / 60:g} minutes, seed {seed}")
    with (
        running_environment(FULL) as environment,
        click.progressbar(length=int(seconds), file=sys.stderr, label="Soaking") as bar,
    ):
        soaked = soak(environment, seed, seconds, lambda passed: bar.update(int(passed) - bar.pos))
    findings = soaked.findings
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, heal in soaked.heals:
        by_name[name].append(inf if heal is None else heal)
    click.echo(f"    {soaked.calls} calls, {findings.looked_at} looked up: {_counted(findings.outcomes)}")
    click.echo(f"    of unknown outcome: {_counted(findings.unknown)}")
    for name, heals in by_name.items():
        click.echo(f"    {len(heals):>3} times {name}: healed in {median(heals):.2f} s, {max(heals):.2f} at the most")
    for what, (before, after) in growth(soaked.held).items():
        click.echo(f"    {what}: {before:,.0f} in the second fifth, {after:,.0f} in the last")
    click.echo("\n".join([f"    {'WRONG' if findings.wrong else 'right'}", *_wrongs(findings)]))
    return not findings.wrong


def _is_chosen(name: str, only: str) -> bool:
    return any(part in name for part in only.split(","))


def _name(scenario: Scenario | None) -> str | None:
    return scenario.name if scenario else None


def _lines(report: Report) -> Sequence[str]:
    findings = report.findings
    word = "right" if report.is_fine else "WRONG"
    figures = (
        f"{len(report.records):>7}{findings.looked_at:>9}{_seconds(report.heal):>8}{_seconds(report.everywhere):>7}"
    )
    lines = [f"{report.scenario.name:<{_WIDTH}}{figures}  {word}", f"    {_counted(findings.outcomes)}"]
    if findings.unknown:
        lines.append(f"    of unknown outcome: {_counted(findings.unknown)}")
    if report.scenario.checks:
        lines.append(f"    also checked: {report.scenario.checks}")
    return [*lines, *_wrongs(findings)]


def _wrongs(findings: Findings) -> Sequence[str]:
    return [f"    WRONG: {wrong}" for wrong in findings.wrong[:_MOST_SHOWN]]


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f}"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counter.most_common())


if __name__ == "__main__":
    main()
