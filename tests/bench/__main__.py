"""`python -m bench`: the rows that are asked for, one after the other, in one table."""

import os

import click

from . import alone, busy_image, deadlines, images, many, operations, overload, pools, race, sick_scope, usage
from .table import HEAD
from .workbench import clusters

_ROWS = {
    1: alone.measure,
    2: many.measure,
    3: busy_image.measure,
    4: sick_scope.measure,
    5: overload.measure,
    6: usage.measure,
    7: deadlines.measure,
    8: race.measure,
    9: images.measure,
    10: pools.measure,
    11: operations.measure,
}


@click.command()
@click.option("--rows", default=",".join(map(str, _ROWS)), show_default=True, help="Which rows, with commas.")
@click.option("--rounds", default=5, show_default=True, help="How often each figure is taken; the median is printed.")
def main(rows: str, rounds: int) -> None:
    """Measure the server beside the bare bindings, on clusters of its own. It takes half an hour."""
    chosen = [int(row) for row in rows.split(",")]
    click.echo("Booting two clusters", err=True)
    with clusters() as bench:
        click.echo(HEAD)
        for row in chosen:
            for line in _ROWS[row](bench, rounds):
                click.echo(line)
    click.echo(f"{len(os.sched_getaffinity(0))} cores, shared with two clusters and the callers; {rounds} rounds")


if __name__ == "__main__":
    main()
