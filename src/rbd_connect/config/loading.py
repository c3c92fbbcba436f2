"""Where settings come from: a TOML file, the environment, flags, each over the one before.

Without a scope among them, from what Ceph itself keeps in /etc/ceph. A wrong setting is one line that names where it
came from, the key, and the remedy.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rbd_connect.model.errors import StartError

from .errors import explain
from .origins import Origins, Setting
from .settings import Settings, fields_of
from .toml_lines import lines_of
from .types import can_be_path

__all__ = ["CEPH_FOLDER", "ConfigurationError", "load", "read_file"]

CEPH_FOLDER = Path("/etc/ceph")
_CLIENTS = ("client.rbd-connect", "client.admin")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class ConfigurationError(StartError):
    """The server cannot be started with these settings. Its text is one line."""


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
    origins = Origins(given)
    try:
        return Settings.model_validate(_nested(chosen), context=origins)
    except ValidationError as error:
        raise ConfigurationError(explain(error, origins)) from error


def read_file(path: Path) -> list[Setting]:
    """Read a TOML file. A path in it that is not absolute is one from the file's folder.

    What comes by a pipe has no folder: there such a path is one from the working directory. Raises ConfigurationError.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}. Name another file with --config."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}.") from error
    lines = lines_of(text)
    given = (replace(setting, lines=lines) for setting in _flatten((), tables, str(path)))
    return [_in_folder(setting, path.parent) for setting in given] if path.is_file() else list(given)


def _flatten(key: tuple[str, ...], value: Any, origin: str) -> Iterator[Setting]:  # noqa: ANN401 - whatever a file holds
    if isinstance(value, dict) and (value or not key):
        for name, inner in value.items():
            yield from _flatten((*key, name), inner, origin)
    else:
        yield Setting(key, value, origin)


def _in_folder(setting: Setting, folder: Path) -> Setting:
    """Return a setting with its path, if it is one, from a folder."""
    field = fields_of(setting.key[:-1]).get(setting.key[-1])
    if field is None or not can_be_path(field) or not isinstance(setting.value, str) or _URL.match(setting.value):
        return setting
    return replace(setting, value=str(folder / setting.value))


def _nested(settings: Mapping[tuple[str, ...], Setting]) -> dict[str, Any]:
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
