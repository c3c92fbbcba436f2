"""Settings as flags and variables: [listen] http is ``--listen-http`` and ``RBD_CONNECT_LISTEN_HTTP``."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import BaseModel

from rbd_connect.common.similar_names import nearest
from rbd_connect.model.errors import one_line

from .loading import ConfigurationError, load, read_file
from .origins import Setting
from .settings import Settings
from .types import Address

__all__ = [
    "CONFIG_VARIABLE",
    "VARIABLES",
    "all_given",
    "config_option",
    "load_given",
    "scope_option",
    "setting_options",
    "unknown_variables",
]

VARIABLES = "RBD_CONNECT_"
CONFIG_VARIABLE = f"{VARIABLES}CONFIG"
_OF_KUBERNETES = re.compile(rf"{VARIABLES}(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_[0-9]+_\w+)")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def setting_options(command: _Command) -> _Command:
    """Give a command a flag and a variable for each setting, scopes excepted."""
    for option in reversed(list(_options())):
        command = option(command)
    return command


def config_option(command: _Command) -> _Command:
    """Give a command ``--config``."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar=CONFIG_VARIABLE,
        help="A TOML file with settings. Variables win over it, and flags over both.",
    )(command)


def scope_option(command: _Command) -> _Command:
    """Give a command ``--scope``, a whole scope in one word."""
    return click.option(
        "--scope",
        "scopes",
        multiple=True,
        envvar=f"{VARIABLES}SCOPES",
        metavar="NAME=CONF[,client=CLIENT][,keyring=FILE][,namespaces=POOL/NAMESPACE]",
        help="A Ceph cluster to serve, and the name for it. May be repeated; in the variable, with spaces between.",
    )(command)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Say which variables begin as ours do and mean nothing.

    Those that Kubernetes sets for a service with the name rbd-connect are its own:
    https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
    """
    known = {CONFIG_VARIABLE, f"{VARIABLES}SCOPES", *(_variable(*names) for names in _names())}
    for name in sorted(environment):
        if name.startswith(VARIABLES) and name not in known and not _OF_KUBERNETES.fullmatch(name):
            # All begin the same, which would make any two similar.
            near = nearest(name.removeprefix(VARIABLES), [one.removeprefix(VARIABLES) for one in known])
            told = f"Do you mean {VARIABLES}{near}?" if near else "`rbd-connect serve --help` lists those that are"
            yield f"variable {one_line(name)}: is no setting. {told}"


def load_given(context: click.Context, config: Path | None) -> Settings:
    """Load the settings of a command. Raises ConfigurationError."""
    return load(all_given(context, config))


def all_given(context: click.Context, config: Path | None) -> list[Setting]:
    """Give all that a command was given, what wins last. Raises ConfigurationError."""
    return [
        *(read_file(config) if config else ()),
        *_given(context, ParameterSource.ENVIRONMENT),
        *_given(context, ParameterSource.COMMANDLINE),
    ]


def _given(context: click.Context, source: ParameterSource) -> Iterator[Setting]:
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
        elif "__" in str(option.name) or option.name in Settings.model_fields:
            yield Setting(tuple(str(option.name).split("__")), value, origin)


def _names() -> Iterator[tuple[str, ...]]:
    """Yield each setting that is also a flag and a variable, by its section and its own name."""
    for section, field in Settings.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from ((section, name) for name in type(field.default).model_fields)
        elif isinstance(field.default, bool):
            yield (section,)


def _variable(*names: str) -> str:
    return VARIABLES + "_".join(names).upper()


def _options() -> Iterator[Callable[[_Command], _Command]]:
    for section, section_field in Settings.model_fields.items():
        if isinstance(section_field.default, bool):
            yield click.option(
                f"--{section}",
                section,
                is_flag=True,
                envvar=_variable(section),
                help=str(section_field.description),
            )
        if not isinstance(section_field.default, BaseModel):
            continue
        for key, field in type(section_field.default).model_fields.items():
            name = f"{section}_{key}"
            flag = "--" + name.replace("_", "-")
            is_switch = isinstance(field.default, bool)
            yield click.option(
                f"{flag}/--no-{flag[2:]}" if is_switch else flag,
                f"{section}__{key}",
                default=None,
                envvar=_variable(name),
                metavar=None if is_switch else "VALUE",
                help=f"{field.description}{_shown_default(field.default)}",
            )


def _shown_default(default: object) -> str:
    """Show a default as one would write it; nothing where there is none."""
    match default:
        case None | ():
            return ""
        case bool():
            shown = str(default).lower()
        case Address():
            shown = str(default)
        case tuple():
            shown = ",".join(default)
        case _:
            shown = str(default)
    return f"  [default: {shown}]"


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
