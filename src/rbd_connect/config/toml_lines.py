"""On which line of a TOML file something stands. ``tomllib``, which reads the file, does not say."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["lines_of"]

_Key = tuple[str | int, ...]

# What may end a value that has several lines: an array, or a string of several lines.
_ENDS = ("]", '"""', "'''")


def lines_of(text: str) -> Mapping[_Key, int]:
    """Return the line, from 1, of each table and each key of a TOML document: ``("grants", 1, "pools")``.

    A number in a key is an element of an array, from 0. A value of several lines has the number of the first one.
    ``text`` must be valid TOML.
    """
    lines: dict[_Key, int] = {}
    sizes: dict[_Key, int] = {}
    table: _Key = ()
    for number, statement in _statements(text):
        content = tomllib.loads(statement)
        if content and statement.lstrip().startswith("["):
            table = _table(content, sizes)
            lines.setdefault(table, number)
        else:
            _note(lines, table, content, number)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each table header and each assignment, with its line: the fewest lines that are TOML by themselves."""
    pending: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        pending.append(line)
        if len(pending) > 1 and not any(end in line for end in _ENDS):
            continue
        statement = "\n".join(pending)
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield number - len(pending) + 1, statement
        pending = []


def _table(content: Mapping[str, Any], sizes: dict[_Key, int]) -> _Key:
    """Return the key of a table by the content of its header; ``sizes`` counts the elements of arrays of tables."""
    key: _Key = ()
    inner: Any = content
    while inner:
        ((name, inner),) = inner.items()
        key = (*key, name)
        if isinstance(inner, list):
            sizes[key] = sizes.get(key, 0) + 1
            inner = None
        if key in sizes:
            key = (*key, sizes[key] - 1)
    return key


def _note(lines: dict[_Key, int], key: _Key, value: Any, number: int) -> None:  # noqa: ANN401 - whatever a file holds
    """Note the line of a value and of all that is inside."""
    if key:
        lines.setdefault(key, number)
    if isinstance(value, dict):
        for name, inner in value.items():
            _note(lines, (*key, name), inner, number)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _note(lines, (*key, place), inner, number)
