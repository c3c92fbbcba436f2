"""What is shown on standard error while a row is measured."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

__all__ = ["shown"]

_T = TypeVar("_T")


def shown(steps: Iterable[_T], label: str) -> Iterator[_T]:
    """Give the steps one after the other, and show how far it got."""
    with click.progressbar(list(steps), file=sys.stderr, label=label) as bar:
        yield from bar
