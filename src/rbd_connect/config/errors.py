"""What is wrong with settings, in one line: where it was given, its name, and the remedy."""

import re
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rbd_connect.common.logging import shortened
from rbd_connect.common.similar_names import hint, one_of
from rbd_connect.model.errors import one_line, quoted

from .origins import Key, Origins
from .settings import Settings, fields_of

__all__ = ["explain"]

_MOST_DIGITS = 40
# "Input should be greater than 0": what pydantic says of a value, which is told before.
_SUBJECT = re.compile(r"^[A-Z][a-z]+ (?=should )")
_PROBLEMS: Mapping[str, str] = {
    "missing": "is required",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "tuple_type": "must be an array, in square brackets",
}
# By the first word of the key: which texts must have a form.
_FORMS: Mapping[str | int, str] = {
    "cors": "is no name of a header",
    "issuers": "is no name for an issuer; write letters, digits and . _ -",
    "scopes": "must be a Ceph user, like client.rbd-connect",
}


def explain(error: ValidationError, origins: Origins) -> str:
    """Say one thing that is wrong: first a name that is no setting, since the one that is meant is missing then."""
    errors = error.errors(include_url=False)
    chosen = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    # pydantic adds "[key]" where a name is wrong in a table whose names are free.
    key: Key = tuple(part for part in chosen["loc"] if part != "[key]")
    problem = _problem(key, chosen)
    end = "" if problem.endswith("?") else "."
    if not key:  # the text names the key itself, and several settings may be to blame
        return one_line(problem + end)
    place = origins.place_of_missing if chosen["type"] == "missing" else origins.place
    return one_line(f"{place(*key)}: {problem}{end}")


def _problem(key: Key, error: ErrorDetails) -> str:
    """Say what is wrong with a setting."""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"is no setting. {_meant(key)}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "tuple_type" and key == ("grants",):
        return "must be tables, each with the header [[grants]]"
    if kind == "literal_error":
        allowed = re.findall("'([^']*)'", error["ctx"]["expected"])
        problem = f"is {one_of(str(value), allowed)}"
    elif kind == "string_pattern_mismatch" and key[0] in _FORMS:
        problem = _FORMS[key[0]]
    elif kind in _PROBLEMS:
        return _PROBLEMS[kind]
    else:
        problem = _SUBJECT.sub("", error["msg"])
    return f"{_told(value)}{problem}"


def _told(value: object) -> str:
    """Write a value before what is wrong with it; nothing where it is a table or an array."""
    match value:
        case str():
            return f"{quoted(value)} "
        case bool():
            return f"{str(value).lower()} "
        case int() | float():
            return f"{shortened(str(value), _MOST_DIGITS)} "
        case _:
            return ""


def _meant(key: Key) -> str:
    """Say which setting may be meant by one that is none."""
    name = str(key[-1])
    known = list(fields_of(key[:-1]))
    if near := hint(name, known):
        return near
    if len(key) > 1 and name in Settings.model_fields:
        return f"{name} is in no table: write it before the first header of the file"
    elsewhere = [f"{section}.{name}" for section in Settings.model_fields if name in fields_of((section,))]
    return f"Do you mean {elsewhere[0]}?" if elsewhere else f"Known here: {', '.join(known)}"
