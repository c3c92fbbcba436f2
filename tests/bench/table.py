"""The table: a line a figure, each against what it is to be compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HEAD", "Line", "percentile"]


@dataclass(frozen=True)
class Line:
    """A figure, and another that was taken in the same run; their ratio, and what it is to be."""

    row: int
    what: str
    unit: str
    figure: float
    against: float | None = None
    target: str = ""

    def __str__(self) -> str:
        against = ratio = ""
        if self.against is not None:
            against = _short(self.against)
            ratio = f"{self.figure / self.against:.2f}" if self.against else ""
        return (
            f"{self.row:>3}  {self.what:<58}{self.unit:>8}{_short(self.figure):>9}{against:>9}{ratio:>7}  {self.target}"
        )


HEAD = f"{'row':>3}  {'':<58}{'':>8}{'server':>9}{'against':>9}{'ratio':>7}  wanted"


def percentile(numbers: Sequence[float], percent: int) -> float:
    """Give the smallest of the numbers that so many per cent do not exceed."""
    return sorted(numbers)[max(0, -(-len(numbers) * percent // 100) - 1)]


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"
