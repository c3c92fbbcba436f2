"""What an error's message names."""

import pytest

from rbd_connect.model.errors import PreconditionViolation, named


@pytest.mark.parametrize(
    ("subjects", "sentence"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (list("abcdef"), "a, b, c, d, e and 1 more"),
        (["n" * 255], "n" * 80 + "…"),
    ],
)
def test_the_first_few_obstacles_are_named(subjects: list[str], sentence: str) -> None:
    assert (
        named([PreconditionViolation(kind="CLONE", subject=subject, description="") for subject in subjects])
        == sentence
    )
