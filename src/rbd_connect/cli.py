"""The command ``rbd-connect``: argv and environment -> Settings -> run. The only place that prints."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

from .configuration import Setting, load, read_file
from .errors import StartError
from .log import configure
from .options import given, scope_option, setting_options

__all__ = ["main"]

_BINDINGS = (
    "rados and rbd cannot be imported by {python}: {error}. They are Debian's python3-rados and python3-rbd, for the "
    "system's own Python: install them, and make the virtual environment with "
    "`/usr/bin/python3 -m venv --system-site-packages`."
)


@click.group()
@click.version_option(package_name="rbd-connect")
def main() -> None:
    """Create Ceph RBD snapshots through a typed API, over Connect, gRPC-Web and gRPC."""
    configure()
    # Its warnings are of what clients send, for which there are lines of our own.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_traceback_of_bad_headers)
    # grpc logs each handshake that fails.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


@main.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="RBD_CONNECT_CONFIG",
    help="A TOML file with settings. Variables win over it, and flags over both.",
)
@scope_option
@setting_options
@click.pass_context
def serve(context: click.Context, /, config: Path | None, **_options: object) -> None:
    """Serve the clusters of the settings; without any there, each /etc/ceph/NAME.conf as the scope NAME."""
    with _one_line_errors():
        settings = load(_given(context, config))
        from . import server  # noqa: PLC0415 - needs rados and rbd, whose absence is told in one line

        def say(listening: server.Listening) -> None:
            scopes = ", ".join(settings.scopes)
            scheme = "https" if listening.with_tls else "http"
            click.echo(f"serving {scopes} on {scheme}://{listening.http}, and gRPC on {listening.grpc}")

        server.serve(settings, say)


@main.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the cluster lives; a new temporary folder otherwise.",
)
@click.option("--keep", is_flag=True, help="Leave the folder at the end, to come back to it with --folder.")
@setting_options
@click.pass_context
def dev(context: click.Context, /, folder: Path | None, *, keep: bool, **_options: object) -> None:
    """Boot a throwaway Ceph cluster of real daemons, and serve it as the scope dev until Ctrl-C."""
    with _one_line_errors():
        from .dev import run  # noqa: PLC0415 - needs rados and rbd, whose absence is told in one line

        run(folder, keep=keep, given=_given(context, None), say=click.echo)


def _given(context: click.Context, config: Path | None) -> list[Setting]:
    """Give all settings, those that win last."""
    return [
        *(read_file(config) if config else ()),
        *given(context, ParameterSource.ENVIRONMENT),
        *given(context, ParameterSource.COMMANDLINE),
    ]


def _without_traceback_of_bad_headers(record: logging.LogRecord) -> bool:
    """Drop what grpc logs of a header that is no UTF-8; such a call has a line of its own."""
    return not str(record.msg).startswith("Invalid encoding")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """End with one line, and no traceback, where the cause is the user's to mend."""
    try:
        yield
    except ImportError as error:
        if error.name not in {"rados", "rbd"}:
            raise
        raise click.ClickException(_BINDINGS.format(python=sys.executable, error=error)) from error
    except StartError as error:
        raise click.ClickException(str(error)) from error
