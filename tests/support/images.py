"""Images for tests."""

from collections.abc import Callable

__all__ = ["MIB", "NewImage"]

MIB = 1 << 20

# Makes an image and gives its name; see the fixture ``new_image``.
NewImage = Callable[..., str]
