"""How long to wait between tries."""

from collections.abc import Iterator

__all__ = ["pauses"]


def pauses(first: float, longest: float) -> Iterator[float]:
    """Give seconds for ever: each twice the last, up to the longest."""
    pause = first
    while True:
        yield pause
        pause = min(2 * pause, longest)
