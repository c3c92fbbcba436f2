"""What may have been meant by a name that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["hint", "nearest", "one_of"]


def nearest(name: str, known: Iterable[str], similarity: float = 0.6) -> str:
    """Return the known name that is the most similar; "" where none is similar (0 to 1: difflib's ratio)."""
    return next(iter(get_close_matches(name, list(known), 1, similarity)), "")


def hint(name: str, known: Iterable[str]) -> str:
    """Ask whether the nearest known name is meant; "" where none is similar."""
    near = nearest(name, known)
    return f"Do you mean {near}?" if near else ""


def one_of(name: str, allowed: Iterable[str]) -> str:
    """Say that a name is none of those that are allowed, and which may be meant."""
    allowed = list(allowed)
    question = hint(name, allowed)
    return f"none of {', '.join(allowed)}" + (f". {question}" if question else "")
