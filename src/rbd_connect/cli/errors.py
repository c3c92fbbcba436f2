"""Errors as the command line has them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from rbd_connect.model.errors import StartError, one_line

__all__ = ["one_line_errors"]

_BINDINGS = (
    "rados and rbd cannot be imported by {python}: {error}. They are Debian's python3-rados and python3-rbd, for the "
    "system's own Python: install them, and make the virtual environment with "
    "`/usr/bin/python3 -m venv --system-site-packages`."
)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End with one line, and no traceback, where the user can correct the cause."""
    try:
        yield
    except ImportError as error:
        if error.name not in {"rados", "rbd"}:
            raise
        raise click.ClickException(_BINDINGS.format(python=sys.executable, error=error)) from error
    except StartError as error:
        raise click.ClickException(one_line(str(error))) from error
