"""The documents' page of states, written from the table: ``python -m states.page > ../docs/states.md`` in ``tests``."""

from collections.abc import Iterator

from .table import CALLS, CREATE, STATES, WHOLE, State

__all__ = ["page"]

_HEAD = """# What each call answers on an image in some state

Each state is made in the tests with Ceph's own tools, on a real cluster, and each call is tried on it, in this order:
{calls}.

Where nothing else is said, a call succeeds, and `ListImages` tells all that it tells of any image. `CreateImage` is
called for the name that the image has, so it answers `already_exists IMAGE_EXISTS`. A call that is refused leaves the
cluster as it was.

This page is written from the table of the tests (`tests/integration/states/table.py`) by `make docs`.

| state | other answers |
| --- | --- |
"""


def page() -> str:
    """Return the page."""
    calls = ", ".join(f"`{call}`" for call in CALLS)
    return _HEAD.format(calls=calls) + "".join(f"| {state.name} | {'; '.join(_others(state))} |\n" for state in STATES)


def _others(state: State) -> Iterator[str]:
    """Say what is answered otherwise than on an ordinary image, answer by answer."""
    usual = dict.fromkeys(CALLS, "ok") | {CREATE: "already_exists IMAGE_EXISTS"}
    by_answer: dict[str, list[str]] = {}
    for call in CALLS:
        if state.answers[call] != usual[call]:
            by_answer.setdefault(state.answers[call], []).append(call)
    for answer, calls in by_answer.items():
        which = "all calls" if len(calls) == len(CALLS) else ", ".join(f"`{call}`" for call in calls)
        yield f"`{answer}`: {which}" if answer != "ok" else f"success: {which}"
    if state.listed != WHOLE:
        yield f"`ListImages`: {state.listed}"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - what it is for
