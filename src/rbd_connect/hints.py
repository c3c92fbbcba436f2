"""What may have been meant by a name that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["hint", "one_of"]


def hint(name: str, known: Iterable[str]) -> str:
    """Ask whether a known name is meant, the nearest one; "" where none is near."""
    near = get_close_matches(name, list(known), 1)
    return f"Do you mean {near[0]}?" if near else ""


def one_of(name: str, allowed: Iterable[str]) -> str:
    """Say that a name is none of those that are allowed, and which may be meant."""
    allowed = list(allowed)
    question = hint(name, allowed)
    return f"none of {', '.join(allowed)}" + (f". {question}" if question else "")
