"""The commands about access: ``rbd-connect token`` makes credentials, ``rbd-connect access`` explains grants."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from rbd_connect.auth import tokens
from rbd_connect.auth.explain import Question, doubts, explain
from rbd_connect.config.access import ACTIONS
from rbd_connect.config.loading import CEPH_FOLDER, load, read_file
from rbd_connect.config.options import CONFIG_VARIABLE, VARIABLES, all_given, config_option, unknown_variables
from rbd_connect.model.errors import one_line

from .errors import one_line_errors

__all__ = ["access", "token"]


def _tokens_file(config: Path | None, file: Path | None) -> Path | None:
    """Give the file that was named, or else the one of the settings."""
    if file is not None or config is None:
        return file
    named = [setting.value for setting in read_file(config) if setting.key == ("auth", "tokens")]
    return Path(named[-1]) if named else None


def _required(file: Path | None) -> Path:
    if file is None:
        raise click.UsageError("name the file with the tokens by --file, or the settings by --config")
    return file


_file_option = click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar=f"{VARIABLES}AUTH_TOKENS",
    help="The file with the tokens; else auth.tokens of the settings.",
)


@click.group()
def token() -> None:
    """Make, list and revoke bearer tokens. A server that runs takes notice within two seconds."""


@token.command("new")
@click.option("--subject", required=True, help="Whom the token names: up to 128 letters, digits and . _ @ -")
@click.option("--days", type=click.IntRange(min=1, max=36_500), help="How long it is valid; else for ever.")
@_file_option
@config_option
def new(subject: str, days: int | None, file: Path | None, config: Path | None) -> None:
    """Make a token, print it, this once, and keep its hash in the file.

    Without a file, what is to be put there is printed on standard error.
    """
    with one_line_errors():
        made, entry = tokens.new_token(subject, None if days is None else timedelta(days=days))
        path = _tokens_file(config, file)
        if path is not None:
            if tokens.add(path, entry):
                click.echo(f"there was no file {path.resolve()}: it is made", err=True)
            click.echo(f"token {entry.id} of {entry.subject} is in {path}; it is shown this once:", err=True)
        else:
            click.echo("put this line into the file that auth.tokens names:", err=True)
            click.echo(entry.model_dump_json(exclude_none=True), err=True)
            click.echo("and give this to the caller, it is shown this once:", err=True)
        click.echo(made)


@token.command("list")
@_file_option
@config_option
def list_tokens(file: Path | None, config: Path | None) -> None:
    """List the tokens by their ids."""
    with one_line_errors():
        for entry in tokens.read(_required(_tokens_file(config, file))):
            expires = f"expires {entry.expires:%Y-%m-%d %H:%M %Z}" if entry.expires else "never expires"
            click.echo(f"{entry.id}  {entry.subject}  created {entry.created:%Y-%m-%d %H:%M %Z}  {expires}")


@token.command("revoke")
@click.argument("token_id", metavar="ID")
@_file_option
@config_option
def revoke(token_id: str, file: Path | None, config: Path | None) -> None:
    """Revoke the token with an ID, which `rbd-connect token list` tells."""
    with one_line_errors():
        path = _required(_tokens_file(config, file))
        entry = tokens.revoke(path, token_id)
        click.echo(f"token {entry.id} of {entry.subject} is revoked")


@click.group()
def access() -> None:
    """Say what is granted, and by what."""


@access.command("explain")
@click.argument("subject")
@click.argument("action", type=click.Choice(ACTIONS), metavar="ACTION")
@click.argument("place", metavar="SCOPE/POOL[/NAMESPACE]/IMAGE")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="A claim of the subject's JWT, like groups=platform. May be repeated.",
)
@config_option
@click.pass_context
def explain_access(context: click.Context, /, config: Path | None, **question: Any) -> None:  # noqa: ANN401 - click's
    """Say which line of the settings grants SUBJECT the ACTION there, or that none does; then the status is 1.

    What means nothing in the settings is warned of. No cluster is asked, so which pools there are is not known.

    The subject of a JWT is ISSUER:NAME, with the issuer's name in the settings. Actions: list; create, delete, protect,
    unprotect, rollback, of snapshots; image.create, image.update, image.delete.
    """
    with one_line_errors():
        if config is None:
            raise click.UsageError(f"name the settings by --config, or in {CONFIG_VARIABLE}")
        settings = load(all_given(context, config), ceph_folder=None)
        asked = Question(**question)
        explanation = explain(settings, config, asked)
        for doubt in (*unknown_variables(os.environ), *doubts(settings, asked, _scopes_without_settings())):
            click.echo(f"warning: {one_line(doubt)}", err=True)
        click.echo(explanation.text)
        if not explanation.is_granted:
            sys.exit(1)
        click.echo("No cluster was asked: the log of the server warns of pools that there are not.", err=True)


def _scopes_without_settings() -> list[str]:
    """Name the scopes that a server on this machine has where its settings name none."""
    return [conf.stem for conf in CEPH_FOLDER.glob("*.conf")]
