"""Calls that ask a monitor for a snapshot's id, or to give one back."""

from collections.abc import Callable

import rbd

__all__ = ["once_more_if_denied"]


def once_more_if_denied(call: Callable[[], None]) -> None:
    """Make a call, twice where it is denied.

    So a monitor answers for one that died, whatever the caps (seen with 16.2.15). It has changed nothing then.
    """
    try:
        call()
    except rbd.PermissionError:
        call()
