"""Where settings come from: a TOML file, the environment, flags, each over the one before.

Without a scope among them, from what Ceph itself keeps in /etc/ceph. A wrong setting is one line that names where it
came from, the key, and the remedy.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from .access.settings import GrantSettings, IssuerSettings
from .errors import StartError
from .settings import ScopeSettings, Settings

__all__ = ["CEPH_FOLDER", "ConfigurationError", "Setting", "load", "read_file"]

CEPH_FOLDER = Path("/etc/ceph")
_CLIENTS = ("client.rbd-connect", "client.admin")

_TABLES: Mapping[str, type[BaseModel]] = {"scopes": ScopeSettings, "issuers": IssuerSettings, "grants": GrantSettings}

Key = tuple[str, ...]


class ConfigurationError(StartError):
    """The server cannot be started with these settings. Its text is one line."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it was given. ``origin`` says where, in the user's terms: a file's name, a flag, a variable."""

    key: Key
    value: Any
    origin: str


def load(given: Sequence[Setting], *, ceph_folder: Path | None = CEPH_FOLDER) -> Settings:
    """Check settings, the later ones over the earlier.

    Without a scope among them, each ``NAME.conf`` in ``ceph_folder`` is the scope NAME; without that folder, there is
    none.

    Raises ConfigurationError.
    """
    if not any(len(setting.key) > 1 or setting.value for setting in given if setting.key[0] == "scopes"):
        scopes = [Setting(("scopes",), {}, "")] if ceph_folder is None else _scopes_in(ceph_folder)
        given = [*scopes, *given]
    chosen = {setting.key: setting for setting in given}
    try:
        return Settings.model_validate(_nested(chosen))
    except ValidationError as error:
        raise ConfigurationError(_explain(error, chosen)) from error


def read_file(path: Path) -> list[Setting]:
    """Read a TOML file. Raises ConfigurationError."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}. Name another file with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}.") from error
    return list(_flatten((), tables, str(path)))


def _flatten(key: Key, value: Any, origin: str) -> Iterator[Setting]:  # noqa: ANN401 - whatever a file holds
    if isinstance(value, dict) and (value or not key):
        for name, inner in value.items():
            yield from _flatten((*key, name), inner, origin)
    else:
        yield Setting(key, value, origin)


def _nested(settings: Mapping[Key, Setting]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for key in sorted(settings, key=len):
        table = tables
        for name in key[:-1]:
            inner = table.get(name)
            table[name] = table = inner if isinstance(inner, dict) else {}
        table[key[-1]] = settings[key].value
    return tables


def _scopes_in(folder: Path) -> Iterator[Setting]:
    """Yield a scope for each cluster that Ceph knows by a name: https://docs.ceph.com/en/latest/rados/configuration/common/#naming-clusters."""
    confs = sorted(folder.glob("*.conf"))
    if not confs:
        raise ConfigurationError(
            f"{folder}: scopes: there is no NAME.conf here, so no Ceph cluster to serve. "
            "Name one with --scope NAME=CONF, or in a file given with --config."
        )
    for conf in confs:
        keyrings = ((client, folder / f"{conf.stem}.{client}.keyring") for client in _CLIENTS)
        client = next((client for client, keyring in keyrings if keyring.is_file()), _CLIENTS[-1])
        yield Setting(("scopes", conf.stem, "conf"), conf, str(folder))
        yield Setting(("scopes", conf.stem, "client"), client, str(folder))


def _explain(error: ValidationError, given: Mapping[Key, Setting]) -> str:
    """Say the first thing that is wrong, in one line."""
    first = error.errors(include_url=False)[0]
    key = tuple(map(str, first["loc"]))
    match first["type"]:
        case "extra_forbidden":
            problem = f"is no setting. Known here: {', '.join(_known(key[:-1]))}"
        case "missing":
            problem = "is required"
        case "value_error":
            problem = str(first["ctx"]["error"])
        case "dict_type" | "model_type":
            problem = "must be a table"
        case "literal_error":
            problem = f"must be {first['ctx']['expected']}"
        case "string_pattern_mismatch" if key[0] == "scopes":
            problem = "must be a Ceph user, like client.rbd-connect"
        case _:
            message = first["msg"]
            problem = message[0].lower() + message[1:]
    if not key:  # it names the key itself, and several settings may be to blame
        return f"{problem}.".replace("\n", " ")
    origin = _origin(key, given)
    return f"{origin + ': ' if origin else ''}{'.'.join(key)}: {problem}.".replace("\n", " ")


def _origin(key: Key, given: Mapping[Key, Setting]) -> str:
    """Say where a key was given; of one that is missing, where its neighbours were."""
    for length in range(len(key), 0, -1):
        for setting in reversed(list(given.values())):
            if setting.key[:length] == key[:length]:
                return setting.origin
    return ""


def _known(section: Key) -> list[str]:
    """Name the settings of a section, or the sections."""
    if not section:
        model: type[BaseModel] = Settings
    elif section[0] in _TABLES:
        model = _TABLES[section[0]]
    else:
        model = type(Settings.model_fields[section[0]].default)
    return list(model.model_fields)
