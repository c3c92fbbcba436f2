"""Settings as flags and variables: [listen] http is ``--listen-http`` and ``RBD_CONNECT_LISTEN_HTTP``."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel

from .configuration import ConfigurationError, Setting
from .settings import Settings

__all__ = ["given", "scope_option", "setting_options"]

_VARIABLES = "RBD_CONNECT_"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def setting_options(command: _Command) -> _Command:
    """Give a command a flag and a variable for each setting, scopes excepted."""
    for option in reversed(list(_options())):
        command = option(command)
    return command


def scope_option(command: _Command) -> _Command:
    """Give a command ``--scope``, a whole scope in one word."""
    return click.option(
        "--scope",
        "scopes",
        multiple=True,
        envvar=f"{_VARIABLES}SCOPES",
        metavar="NAME=CONF[,client=CLIENT][,keyring=FILE]",
        help="A Ceph cluster to serve, and the name for it. May be repeated; in the variable, with spaces between.",
    )(command)


def given(context: click.Context, source: ParameterSource) -> Iterator[Setting]:
    """Yield what a command was given by flags (COMMANDLINE) or by variables (ENVIRONMENT).

    Raises ConfigurationError.
    """
    for option in context.command.params:
        if not isinstance(option, click.Option) or context.get_parameter_source(str(option.name)) is not source:
            continue
        origin = option.opts[0] if source is ParameterSource.COMMANDLINE else str(option.envvar)
        value = context.params[str(option.name)]
        if option.name == "scopes":
            for word in value:
                yield from _scope(word, origin)
        elif "__" in str(option.name):
            yield Setting(tuple(str(option.name).split("__")), value, origin)


def _options() -> Iterator[Callable[[_Command], _Command]]:
    for section, section_field in Settings.model_fields.items():
        if not isinstance(section_field.default, BaseModel):
            continue
        for key, field in type(section_field.default).model_fields.items():
            name = f"{section}_{key}"
            flag = "--" + name.replace("_", "-")
            is_switch = isinstance(field.default, bool)
            default = str(field.default).lower() if is_switch else str(field.default)
            yield click.option(
                f"{flag}/--no-{flag[2:]}" if is_switch else flag,
                f"{section}__{key}",
                default=None,
                envvar=_VARIABLES + name.upper(),
                metavar=None if is_switch else "VALUE",
                help=f"{field.description}  [default: {default}]",
            )


def _scope(word: str, origin: str) -> Iterator[Setting]:
    name, equals, rest = word.partition("=")
    conf, *others = rest.split(",")
    pairs = [("conf", conf), *((key, value) for key, _, value in (other.partition("=") for other in others))]
    if not (name and equals and all(key and value for key, value in pairs)):
        raise ConfigurationError(
            f"{origin}: {word!r} is no scope. Write NAME=CONF, like prod=/etc/ceph/ceph.conf,client=client.rbd-connect."
        )
    for key, value in pairs:
        yield Setting(("scopes", name, key), value, origin)
