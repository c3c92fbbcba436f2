"""How many commands the server gives a monitor, by the monitor's own log."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from support.cluster import USER
from support.waiting import wait_until

from .workbench import Site

__all__ = ["Commands", "counted"]

_marks = count(1)


class Commands(list[str]):
    """The lines of the log about commands, when they are over."""


@contextmanager
def counted(site: Site) -> Iterator[Commands]:
    """Collect the commands that a monitor is given inside, but for what the server asks every few seconds anyway."""
    found = Commands()
    log = site.cluster.folder / f"{site.cluster.monitors[0]}.log"
    begins = _mark(site, log)
    yield found
    lines = log.read_text()[begins : _mark(site, log)].splitlines()
    asked = [line for line in lines if f"entity='{USER}'" in line and line.endswith(": dispatch")]
    found += [line for line in asked if "config dump" not in line and '"status"' not in line]


def _mark(site: Site, log: Path) -> int:
    """Have the monitor write something to its log; give the place when it stands there."""
    mark = f"the bench counts from here: {next(_marks)}."
    site.cluster.command("log", logtext=[mark])
    wait_until(lambda: mark in log.read_text())
    return log.read_text().index(mark)
