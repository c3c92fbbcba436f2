"""Names: what is valid, and what is said of what is not."""

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.model.errors import InvalidRequestError
from rbd_connect.model.names import MAX_NAME_BYTES, ImageSpec, SnapshotSpec, parse_image, parse_snapshot


def parse(scope: str = "s", pool: str = "p", image: str = "i", snapshot: str = "n") -> SnapshotSpec:
    return parse_snapshot(scope=scope, pool_name=pool, image_name=image, snapshot_name=snapshot)


def parse_new(scope: str = "s", pool: str = "p", image: str = "i", snapshot: str = "n") -> None:
    """Parse the names of an image and of a snapshot that are to be created."""
    parse_image(scope=scope, pool_name=pool, image_name=image, is_new=True)
    parse_snapshot(scope=scope, pool_name=pool, image_name=image, snapshot_name=snapshot, is_new=True)


def violations(parse: Callable[..., object], **names: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError) as refused:
        parse(**names)
    return [(violation.field, violation.reason) for violation in refused.value.violations]


ordinary_names = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="@/"), min_size=1, max_size=60
).filter(lambda name: not name.startswith("."))


@given(scope=ordinary_names, pool=ordinary_names, image=ordinary_names, snapshot=ordinary_names)
def test_ordinary_unicode_is_valid(scope: str, pool: str, image: str, snapshot: str) -> None:
    expected = SnapshotSpec(scope=scope, pool=pool, namespace="", image=image, snapshot=snapshot)
    assert parse(scope, pool, image, snapshot) == expected
    parse_new(scope, pool, image, snapshot)


# What librbd takes for a name, whoever gives it: all but a NUL, and what is no UTF-8.
existing_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@given(pool=existing_names.filter(lambda name: "/" not in name), image=existing_names, snapshot=existing_names)
def test_what_exists_has_whatever_name_it_has(pool: str, image: str, snapshot: str) -> None:
    expected = SnapshotSpec(scope="s", pool=pool, namespace="", image=image, snapshot=snapshot)
    assert parse("s", pool, image, snapshot) == expected


@given(pool=ordinary_names, namespace=ordinary_names)
def test_a_pool_may_have_a_namespace(pool: str, namespace: str) -> None:
    spec = parse(pool=f"{pool}/{namespace}")
    assert (spec.pool, spec.namespace) == (pool, namespace)


@given(
    field=st.sampled_from(["image", "snapshot"]),
    before=ordinary_names,
    control=st.characters(categories=["Cc", "Cs"]),
    after=st.text(max_size=5),
)
def test_nothing_is_created_with_control_characters(field: str, before: str, control: str, after: str) -> None:
    assert unicodedata.category(control) in {"Cc", "Cs"}
    ((_, reason),) = violations(parse_new, **{field: before + control + after.replace("/", "")})
    assert reason == "CONTROL_CHARACTER"


@given(
    field=st.sampled_from(["pool", "image", "snapshot"]),
    before=ordinary_names,
    bad=st.characters(categories=["Cs"]) | st.just("\0"),
)
def test_no_name_has_a_nul_or_a_lone_surrogate(field: str, before: str, bad: str) -> None:
    ((_, reason),) = violations(parse, **{field: before + bad})
    assert reason == "CONTROL_CHARACTER"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"scope": ""}, [("scope", "EMPTY")]),
        ({"scope": ".s"}, [("scope", "RESERVED")]),
        ({"scope": "a\nb"}, [("scope", "CONTROL_CHARACTER")]),
        ({"pool": ""}, [("pool_name", "EMPTY")]),
        ({"pool": "/"}, [("pool_name", "EMPTY"), ("pool_name", "EMPTY")]),
        ({"pool": "/namespace"}, [("pool_name", "EMPTY")]),
        ({"pool": "pool/"}, [("pool_name", "EMPTY")]),
        ({"pool": "pool/a/b"}, [("pool_name", "FORBIDDEN_CHARACTER")]),
        ({"image": ""}, [("image_name", "EMPTY")]),
        ({"snapshot": ""}, [("snapshot_name", "EMPTY")]),
        ({"snapshot": "a\0b"}, [("snapshot_name", "CONTROL_CHARACTER")]),
        ({"image": "", "snapshot": ""}, [("image_name", "EMPTY"), ("snapshot_name", "EMPTY")]),
    ],
)
def test_each_field_says_which_rule_it_breaks(names: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert violations(parse, **names) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"image": "a@b"}, [("image_name", "FORBIDDEN_CHARACTER")]),
        ({"image": "a/b"}, [("image_name", "FORBIDDEN_CHARACTER")]),
        ({"image": ".hidden"}, [("image_name", "RESERVED")]),
        ({"snapshot": "a@b"}, [("snapshot_name", "FORBIDDEN_CHARACTER")]),
        ({"snapshot": "a/b"}, [("snapshot_name", "FORBIDDEN_CHARACTER")]),
        ({"snapshot": ".mirror.primary.x"}, [("snapshot_name", "RESERVED")]),
    ],
)
def test_what_is_created_has_a_strict_name(names: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert parse(**names)
    assert violations(parse_new, **names) == expected


@pytest.mark.parametrize("field", ["image", "snapshot"])
def test_a_new_name_has_255_bytes_at_the_most(field: str) -> None:
    parse_new(**{field: "n" * MAX_NAME_BYTES})
    parse_new(**{field: "é" * (MAX_NAME_BYTES // 2)})
    ((_, reason),) = violations(parse_new, **{field: "é" * (MAX_NAME_BYTES // 2 + 1)})
    assert reason == "TOO_LONG"
    assert parse(**{field: "é" * MAX_NAME_BYTES})


@pytest.mark.parametrize(
    ("pool", "namespace", "image", "words"),
    [
        ("p", "", "i", "p/i"),
        ("p", "n", "i", "p/n/i"),
        ("p", "n", "i x", "'p/n/i x'"),
        ("p", "", "i@x", "--pool p --image i@x"),
        ("p", "n", "i/x", "--pool p --namespace n --image i/x"),
    ],
)
def test_the_rbd_command_is_told_an_image_in_words_that_it_reads(
    pool: str, namespace: str, image: str, words: str
) -> None:
    assert ImageSpec(scope="s", pool=pool, namespace=namespace, image=image).words == words
