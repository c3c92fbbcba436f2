"""Which grant allows something, for people: by its line in the settings."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rbd_connect.config.access import Action
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import InvalidRequestError, StartError, quoted
from rbd_connect.model.names import ImageSpec, parse_image

from .grant_warnings import grant_doubts, there_are
from .grants import Grants
from .identity import Identity

__all__ = ["Explanation", "Question", "doubts", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether something is granted, and why; in one line."""

    is_granted: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who, what, where, and with which claims, ``NAME=VALUE``. ``place`` is ``SCOPE/POOL[/NAMESPACE]/IMAGE``."""

    subject: str
    action: Action
    place: str
    claims: Sequence[str]


def explain(settings: Settings, config: Path, question: Question) -> Explanation:
    """Say which grant of a file allows something. Raises StartError for a place or a claim that cannot be read."""
    if not settings.with_authentication:
        text = "granted: no authentication is configured, so everybody may do everything"
        return Explanation(is_granted=True, text=text)
    spec = _spec(question.place)
    issuer, colon, _ = question.subject.partition(":")
    claims = _claims(question.claims)
    identity = Identity(subject=question.subject, credential="none", issuer=issuer if colon else None, claims=claims)
    granted = Grants(settings.grants).of(identity)
    grant = granted.find(question.action, spec)
    if grant is not None:
        text = f"granted by {settings.origins.place('grants', grant.number)}"
        return Explanation(is_granted=True, text=text)
    told = granted.refusal(question.action, spec)
    text = (
        f"denied: no grant in {config} gives {question.subject} the action {question.action} on {question.place}; "
        f"the answer is {told.code.value}, {told.reason}"
    )
    return Explanation(is_granted=False, text=text)


def doubts(settings: Settings, question: Question, default_scopes: Collection[str]) -> Iterator[str]:
    """Say what in the settings and in a question can mean nothing.

    ``default_scopes`` are those that there are where the settings name none. Raises StartError as ``explain`` does.
    """
    scopes = settings.scopes.keys() or default_scopes
    yield from grant_doubts(settings, scopes)
    scope = _spec(question.place).scope
    if scopes and scope not in scopes:
        yield f"{quoted(scope)} is no scope. {there_are('scopes', scope, scopes)}"


def _spec(place: str) -> ImageSpec:
    scope, slash, rest = place.partition("/")
    pool_name, slash, image = rest.rpartition("/") if slash else ("", "", "")
    try:
        if not slash:
            raise StartError(f"{place!r} is no place: write SCOPE/POOL/IMAGE or SCOPE/POOL/NAMESPACE/IMAGE.")
        return parse_image(scope=scope, pool_name=pool_name, image_name=image)
    except InvalidRequestError as error:
        raise StartError(f"{place!r} is no place: {error.message}") from error


def _claims(words: Iterable[str]) -> dict[str, list[str]]:
    claims: dict[str, list[str]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise StartError(f"{word!r} is no claim: write NAME=VALUE, like groups=platform.")
        claims.setdefault(name, []).append(value)
    return claims
