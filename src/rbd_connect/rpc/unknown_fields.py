"""Fields of a request that its call does not know. They are ignored; where a required one is empty, they are named.

JSON has names, and the codec notes them for the call under way. Binary messages keep what they do not know by number.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from rbd_connect.common.similar_names import nearest
from rbd_connect.model.errors import FieldViolation, InvalidRequestError, ServiceError, listed, quoted

from .methods import METHODS

__all__ = ["lacks_required", "note", "with_unknown_named"]

# What a call refuses to do without, in every request that has such a field.
_REQUIRED = ("scope", "pool_name", "image_name", "snapshot_name", "quota_bytes")
# So many names are compared with the call's own; more are only counted.
_MOST_COMPARED = 20
_MOST_NUMBERS = 1000
_SIMILARITY = 0.75
_LEAST_PART = 3


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A name that a request has and its call does not know, and a field of the call that stands inside of it."""

    name: str
    inside: str | None = None


_unknown: ContextVar[Sequence[_Unknown]] = ContextVar("unknown_fields", default=())


def lacks_required(request: Message) -> bool:
    """Say whether a field is empty without which the call is refused."""
    return any(not request.HasField(name) or getattr(request, name) == "" for name in _required_of(request.DESCRIPTOR))


def note(body: bytes | bytearray, request: Message) -> None:
    """Note what the call under way does not know of its body: JSON that was read as this message."""
    fields = _known(request.DESCRIPTOR)
    names = ((name, value) for name, value in json.loads(body).items() if name not in fields)
    _unknown.set([_Unknown(name, _first_inside(value, fields)) for name, value in names])


def with_unknown_named(error: ServiceError, request: Message) -> ServiceError:
    """Name, where an error says that a field is empty, the fields that the call does not know."""
    if not isinstance(error, InvalidRequestError):
        return error
    empty = [violation for violation in error.violations if violation.reason == "EMPTY"]
    if not empty:
        return error
    said = _by_field(_unknown.get(), empty, request)
    first = empty[0].field
    said[first] = [*said.get(first, ()), *_of_numbers(request)]
    violations = [
        replace(each, description=" ".join([each.description, *said.pop(each.field, ())])) for each in error.violations
    ]
    return InvalidRequestError(violations, reason=error.reason)


def _by_field(unknown: Iterable[_Unknown], empty: Sequence[FieldViolation], request: Message) -> dict[str, list[str]]:
    """Say of each empty field what was sent in its place, and of the first one what else is not known."""
    by_name = request.DESCRIPTOR.fields_by_name
    candidates = {by_name[violation.field].json_name: violation.field for violation in empty}
    said: dict[str, list[str]] = {}
    rest: list[_Unknown] = []
    for number, each in enumerate(unknown):
        meant = _meant(each.name, candidates) if number < _MOST_COMPARED else None
        if meant is None:
            rest.append(each)
        else:
            said[candidates.pop(meant)] = [f"{_which([each])}: do you mean '{meant}'?"]
    if rest:
        said.setdefault(empty[0].field, []).append(_unmatched(rest, request))
    return said


def _meant(name: str, candidates: Iterable[str]) -> str | None:
    """Return the one of these fields that a name is most like: but for its case, a part of it, a misspelling."""
    by_plain = {_plain(candidate): candidate for candidate in candidates}
    plain = _plain(name)
    if plain in by_plain:
        return by_plain[plain]
    parts = [each for each in by_plain if _is_an_end(plain, each) or _is_an_end(each, plain)]
    if len(parts) == 1:
        return by_plain[parts[0]]
    return by_plain.get(nearest(plain, by_plain, _SIMILARITY))


def _unmatched(unknown: Sequence[_Unknown], request: Message) -> str:
    """Say what is not known and like no empty field: where it belongs, or which fields there are."""
    which = _which(unknown)
    if len(unknown) == 1:
        if unknown[0].inside is not None:
            return f"{which}: what it holds, such as '{unknown[0].inside}', must stand at the top of the request."
        calls = _calls_with(unknown[0].name)
        if calls:
            return f"{which}: it is a field of {listed(calls)}."
    known = [f"'{field.json_name}'" for field in request.DESCRIPTOR.fields]
    return f"{which}. The call's fields are {listed(known, len(known))}."


def _which(unknown: Sequence[_Unknown]) -> str:
    names = listed([quoted(each.name) for each in unknown])
    what = "a field" if len(unknown) == 1 else "the fields"
    return f"The request has {what} {names}, which this call does not know"


def _of_numbers(request: Message) -> Iterator[str]:
    """Say which numbers a binary message has that are not known, or whose values are of another type."""
    fields = UnknownFieldSet(request)
    numbers = dict.fromkeys(fields[index].field_number for index in range(min(len(fields), _MOST_NUMBERS)))
    if not numbers:
        return
    known = request.DESCRIPTOR.fields_by_number
    names = [f"{each} (of another type than '{known[each].name}')" if each in known else str(each) for each in numbers]
    what = "a field with the number" if len(names) == 1 else "fields with the numbers"
    yield (
        f"The request has {what} {listed(names)}, which this call does not know: "
        "was the client generated from this service's proto file?"
    )


def _first_inside(value: object, fields: Mapping[str, str]) -> str | None:
    if not isinstance(value, dict):
        return None
    return next((fields[name] for name in value if name in fields), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name[:80].lower())


def _is_an_end(part: str, whole: str) -> bool:
    return len(part) >= _LEAST_PART and (whole.startswith(part) or whole.endswith(part))


@cache
def _required_of(descriptor: Descriptor) -> tuple[str, ...]:
    return tuple(name for name in _REQUIRED if name in descriptor.fields_by_name)


@cache
def _known(descriptor: Descriptor) -> Mapping[str, str]:
    """Return the names by which JSON may have a message's fields, and what each is called in JSON."""
    by_name = {field.name: field.json_name for field in descriptor.fields}
    return by_name | {field.json_name: field.json_name for field in descriptor.fields}


def _calls_with(name: str) -> list[str]:
    return [each.name for each in METHODS if name in _known(each.request_class.DESCRIPTOR)]
