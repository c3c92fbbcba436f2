"""The command ``rbd-connect``: argv and environment -> Settings -> run. It and its neighbours are
the only place that prints.
"""

import logging
import os
from pathlib import Path

import click

from rbd_connect.common.logging import configure
from rbd_connect.common.memory_protection import keep_memory_secret
from rbd_connect.config.options import (
    all_given,
    config_option,
    load_given,
    scope_option,
    setting_options,
    unknown_variables,
)

from .access import access, token
from .errors import one_line_errors

__all__ = ["main"]

_log = logging.getLogger(__name__)


@click.group()
@click.version_option(package_name="rbd-connect")
def main() -> None:
    """Manage Ceph RBD images and snapshots through a typed API, over Connect, gRPC-Web and gRPC."""
    configure()
    # Its warnings are of what clients send, for which there are lines of our own.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_traceback_of_bad_headers)
    # grpc logs each handshake that fails.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


main.add_command(access)
main.add_command(token)


@main.command()
@config_option
@scope_option
@setting_options
@click.pass_context
def serve(context: click.Context, /, config: Path | None, **_options: object) -> None:
    """Serve the clusters of the settings; without any there, each /etc/ceph/NAME.conf as the scope NAME."""
    keep_memory_secret()
    with one_line_errors():
        settings = load_given(context, config)
        from rbd_connect.server import lifecycle as server  # noqa: PLC0415 - needs rados and rbd, whose absence is told in one line
        from rbd_connect.server.reload import Source  # noqa: PLC0415 - as above

        def say(listening: server.Listening) -> None:
            scopes = ", ".join(settings.scopes)
            scheme = "https" if listening.with_tls else "http"
            click.echo(f"serving {scopes} on {scheme}://{listening.http}, and gRPC on {listening.grpc}")
            if listening.probes is not None:
                click.echo(f"answering probes on http://{listening.probes}")

        _warn_of_variables()
        server.serve(settings, say, Source(config, lambda: load_given(context, config), _warn_of_variables))


@main.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the cluster lives; a new temporary folder otherwise.",
)
@config_option
@click.option("--keep", is_flag=True, help="Leave the folder at the end, to come back to it with --folder.")
@setting_options
@click.pass_context
def dev(context: click.Context, /, folder: Path | None, *, config: Path | None, keep: bool, **_options: object) -> None:
    """Boot a throwaway Ceph cluster of real daemons, and serve it as the scope dev until Ctrl-C."""
    with one_line_errors():
        from .dev import run  # noqa: PLC0415 - needs rados and rbd, whose absence is told in one line

        _warn_of_variables()
        run(folder, keep=keep, given=all_given(context, config), say=click.echo)


def _warn_of_variables() -> None:
    for problem in unknown_variables(os.environ):
        _log.warning("%s", problem)


def _without_traceback_of_bad_headers(record: logging.LogRecord) -> bool:
    """Drop what grpc logs of a header that is no UTF-8; such a call has a line of its own."""
    return not str(record.msg).startswith("Invalid encoding")
