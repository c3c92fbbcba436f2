"""What can go wrong, in the caller's terms: a code, a reason that a program can act on, a message for developers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from connectrpc.code import Code

__all__ = [
    "CephError",
    "FieldViolation",
    "InTheWayError",
    "InvalidRequestError",
    "NotFoundError",
    "PreconditionError",
    "PreconditionViolation",
    "ResourceType",
    "RetryableError",
    "ServiceError",
    "StartError",
    "listed",
    "named",
    "one_line",
    "quoted",
]

_MOST_NAMED = 5
_MOST_CHARACTERS = 80

ResourceType = Literal["scope", "pool", "namespace", "image", "snapshot"]


class StartError(Exception):
    """The program cannot start. Its text is for the one who starts it: what is wrong, where, and the remedy."""


class ServiceError(Exception):
    """An answer that is no success.

    ``reason`` is UPPER_SNAKE_CASE and stable, and stands in ``reasons``; ``message`` is English and free to change.
    ``cause`` is for the log alone: it may name what a client must not learn.
    """

    cause: str | None = None

    def __init__(self, code: Code, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Let it be pickled whatever its constructor takes: it comes from another process."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[ServiceError], args: tuple[object, ...], state: dict[str, object]) -> ServiceError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """A field of a request that is not valid, by its name in the proto file, and what is allowed there."""

    field: str
    reason: str
    description: str


class InvalidRequestError(ServiceError):
    """The request can never succeed, whatever the state of the cluster."""

    def __init__(self, violations: Sequence[FieldViolation], *, reason: str = "INVALID_NAME") -> None:
        message = " ".join(violation.description for violation in violations)
        super().__init__(Code.INVALID_ARGUMENT, reason, message)
        self.violations = tuple(violations)


class NotFoundError(ServiceError):
    """A scope, pool, namespace, image or snapshot that does not exist."""

    def __init__(self, resource_type: ResourceType, name: str, place: str) -> None:
        super().__init__(
            Code.NOT_FOUND, f"{resource_type.upper()}_NOT_FOUND", f"There is no {resource_type} {quoted(name)} {place}."
        )
        self.resource_type = resource_type
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class PreconditionViolation:
    """What stands in a call's way: of which kind it is, which one of them, and what it does there.

    ``image`` is the pool, the namespace and the name of the image that it is, where it is one: ``subject`` joins them
    for people, and cannot be split again.
    """

    kind: Literal[
        "CLONE",
        "GROUP",
        "GROUP_SNAPSHOT",
        "LOCK",
        "MIGRATION",
        "MIRROR_SNAPSHOT",
        "SNAPSHOT",
        "TRASH_SNAPSHOT",
        "WATCHER",
    ]
    subject: str
    description: str
    image: tuple[str, str, str] | None = None


def quoted(name: str) -> str:
    """Quote a name in a sentence; of a long one its beginning. What cannot be printed is escaped."""
    return repr(_shorten(name))


def one_line(text: str) -> str:
    """Escape what cannot be printed, line breaks too, as Python does in a string."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _shorten(name: str) -> str:
    return name if len(name) <= _MOST_CHARACTERS else f"{name[:_MOST_CHARACTERS]}…"


def _printed(name: str) -> str:
    return _shorten(name) if name.isprintable() else quoted(name)


def named(violations: Sequence[PreconditionViolation]) -> str:
    """Name violations in a sentence: the first few, and of a long name its beginning. gRPC has little room for it."""
    return listed([_printed(violation.subject) for violation in violations])


def listed(words: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Join words in a sentence: "a, b and c"; of many the first few."""
    shown = [*words[:most], f"{len(words) - most} more"] if len(words) > most else words
    *others, last = shown
    return f"{', '.join(others)} and {last}" if others else last


class PreconditionError(ServiceError):
    """The state of an image or a snapshot does not allow the call. ``violations`` are what must go first."""

    def __init__(self, reason: str, message: str, violations: Sequence[PreconditionViolation] = ()) -> None:
        super().__init__(Code.FAILED_PRECONDITION, reason, message)
        self.violations = tuple(violations)


class InTheWayError(PreconditionError):
    """The message names the violations. ``lead`` is what the message says before it names them.

    ``hidden`` is how many more there are that the caller may not know of.
    """

    def __init__(self, reason: str, lead: str, violations: Sequence[PreconditionViolation], *, hidden: int = 0) -> None:
        names = [named(violations)] if violations else []
        if hidden:
            names.append(f"{hidden} that you may not see")
        super().__init__(reason, f"{lead} {', and '.join(names)}.", violations)
        self.lead = lead


class RetryableError(ServiceError):
    """A retry may succeed, after ``seconds`` or, where that is None, after as long as ``reasons`` says."""

    def __init__(self, code: Code, reason: str, message: str, *, seconds: float | None = None) -> None:
        super().__init__(code, reason, message)
        self.seconds = seconds


class CephError(ServiceError):
    """Ceph answered with an errno. ``errno`` is positive, or None where the binding gave none."""

    def __init__(self, code: Code, reason: str, message: str, errno: int | None) -> None:
        super().__init__(code, reason, message)
        self.errno = errno
