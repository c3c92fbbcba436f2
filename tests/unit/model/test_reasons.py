"""The table of reasons is total: every reason that the sources give has an entry, with each of its codes."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from connectrpc.code import Code

import rbd_connect
from rbd_connect.model.errors import ResourceType
from rbd_connect.model.reasons import REASONS

Given = tuple[Code, str]

SOURCES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for path in Path(rbd_connect.__file__).parent.rglob("*.py")
}
# Its reason is made from what is not there.
COMPUTED = "NotFoundError"
# What is given beside the errors themselves: what an errno means.
OTHERS = {"Meaning"}


def classes_of_errors() -> set[str]:
    """The names of ServiceError and all that descends from it."""
    classes = [node for tree in SOURCES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {"ServiceError"}
    while more := {each.name for each in classes if found & set(map(name_of, each.bases))} - found:
        found |= more
    return found


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def constructions(tree: ast.AST, errors: set[str]) -> Iterator[ast.Call]:
    """Calls that make an error: of a class, and of its parent's constructor in a class that descends from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in errors | OTHERS:
            yield node
        if isinstance(node, ast.ClassDef) and node.name in errors - {"ServiceError"}:
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and name_of(call.func) == "__init__":
                    yield call


def given_by(call: ast.Call) -> Given | None:
    """The code and the reason that a call gives; None where it takes them from elsewhere."""
    reasons = [reason for node in (*call.args, *(word.value for word in call.keywords)) if (reason := reason_of(node))]
    codes = [node.attr for node in call.args if isinstance(node, ast.Attribute) and name_of(node.value) == "Code"]
    if not reasons:
        return None
    (reason,) = reasons
    return Code[codes[0]] if codes else default_code(call), reason


def reason_of(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isupper():
        return node.value
    return None


def default_code(call: ast.Call) -> Code:
    return Code.INVALID_ARGUMENT if name_of(call.func) == "InvalidRequestError" else Code.FAILED_PRECONDITION


def takes_reason_from_elsewhere(call: ast.Call) -> bool:
    """Whether a call passes a reason on, or is of a class that has its own."""
    passed = {name_of(node) for node in (*call.args, *(word.value for word in call.keywords))}
    return "reason" in passed or name_of(call.func) in HAVE_THEIR_OWN


HAVE_THEIR_OWN = {
    COMPUTED,
    "InvalidRequestError",
    "NotConnectedError",
    "UnauthenticatedError",
    "SnapshotExistsError",
    "ImageExistsError",
}


def found() -> set[Given]:
    errors = classes_of_errors()
    pairs = [given_by(call) for tree in SOURCES.values() for call in constructions(tree, errors)]
    names = {f"{kind.upper()}_NOT_FOUND" for kind in get_args(ResourceType)}
    return (
        {pair for pair in pairs if pair}
        | {(Code.NOT_FOUND, name) for name in names}
        | {
            (Code.INVALID_ARGUMENT, "INVALID_NAME")  # InvalidRequestError's default
        }
    )


def test_every_reason_of_the_sources_has_its_entry() -> None:
    assert found() == {(code, name) for name, reason in REASONS.items() for code in reason.codes}


def test_no_error_is_made_with_a_reason_that_this_cannot_read() -> None:
    errors = classes_of_errors()
    for path, tree in SOURCES.items():
        for call in constructions(tree, errors):
            is_computed = path.name == "errors.py" and any(isinstance(each, ast.JoinedStr) for each in call.args)
            assert given_by(call) or takes_reason_from_elsewhere(call) or is_computed, f"{path}:{call.lineno}"


@pytest.mark.parametrize("name", REASONS)
def test_an_entry_says_what_it_means_and_what_to_do(name: str) -> None:
    reason = REASONS[name]
    assert reason.meaning.endswith(".")
    assert reason.action
    assert not reason.action.endswith(".")
    assert "|" not in reason.meaning + reason.action


def test_what_is_told_to_try_later_is_to_be_tried_later() -> None:
    """RetryableError is what says so in the sources, and RetryInfo is what clients are told."""
    for tree in SOURCES.values():
        for call in constructions(tree, {"RetryableError"}):
            pair = given_by(call)
            if pair is not None and name_of(call.func) not in OTHERS:
                assert REASONS[pair[1]].retry_after is not None, pair
