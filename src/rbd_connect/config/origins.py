"""Where each setting was given: a file and a line of it, a variable, a flag; and what the setting is called."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Key", "Origins", "Setting", "spelled"]

Key = tuple[str | int, ...]
"""A setting by the names of its tables and its own. A number is an element of an array, from 0."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it was given.

    ``origin`` says where, in the user's terms: a file's name, a flag, a variable. ``lines`` are a file's, by key.
    """

    key: tuple[str, ...]
    value: Any
    origin: str
    lines: Mapping[Key, int] = field(default_factory=dict, repr=False)


class Origins:
    """Where settings were given."""

    def __init__(self, given: Sequence[Setting] = ()) -> None:
        """Where a key was given several times, the last of ``given`` is the one that counts."""
        self._given = tuple({setting.key: setting for setting in given}.values())

    def place(self, *key: str | int) -> str:
        """Say where a setting was given, and its name: ``settings.toml, line 12: [[grants]] number 2: pools``.

        The name alone, where the setting was not given.
        """
        found = [one for one in self._given if one.key[: len(key)] == key or key[: len(one.key)] == one.key]
        return _joined(_origin(found[-1], key) if found else "", key)

    def place_of_missing(self, *key: str | int) -> str:
        """Say where a setting is missing: where its neighbours were given. Else as ``place``."""
        for length in range(len(key), 0, -1):
            found = [one for one in self._given if one.key[:length] == key[:length]]
            if found:
                return _joined(_origin(found[-1], key), key)
        return spelled(key)

    def replaced(self, sections: Collection[str], other: "Origins") -> "Origins":
        """Return these, but those of some sections as another has them."""
        kept = [one for one in self._given if one.key[0] not in sections]
        return Origins([*kept, *(one for one in other._given if one.key[0] in sections)])  # noqa: SLF001 - of the same class


def spelled(key: Key) -> str:
    """Name a setting. Grants are counted from 1; of other arrays, no element is named."""
    name = ".".join(part for part in key if isinstance(part, str))
    if len(key) > 1 and isinstance(key[1], int):
        table, _, inner = name.partition(".")
        name = f"[[{table}]] number {key[1] + 1}" + (f": {inner}" if inner else "")
    return name


def _origin(setting: Setting, key: Key) -> str:
    """Say where a setting was given: in a file, on the line of the key, or of what the key is in."""
    numbers = (setting.lines.get(key[:length]) for length in range(len(key), 0, -1))
    number = next((number for number in numbers if number), None)
    return setting.origin if number is None else f"{setting.origin}, line {number}"


def _joined(origin: str, key: Key) -> str:
    return f"{origin}: {spelled(key)}" if origin else spelled(key)
