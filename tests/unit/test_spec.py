"""Names: what is valid, and what is said of what is not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.errors import InvalidRequestError
from rbd_connect.spec import MAX_NAME_BYTES, SnapshotSpec, parse_snapshot


def parse(scope: str = "s", pool: str = "p", image: str = "i", snapshot: str = "n") -> SnapshotSpec:
    return parse_snapshot(scope=scope, pool_name=pool, image_name=image, snapshot_name=snapshot)


def violations(**names: str) -> list[tuple[str, str]]:
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


@given(pool=ordinary_names, namespace=ordinary_names)
def test_a_pool_may_have_a_namespace(pool: str, namespace: str) -> None:
    spec = parse(pool=f"{pool}/{namespace}")
    assert (spec.pool, spec.namespace) == (pool, namespace)


@given(
    field=st.sampled_from(["scope", "pool", "image", "snapshot"]),
    before=ordinary_names,
    control=st.characters(categories=["Cc", "Cs"]),
    after=st.text(max_size=5),
)
def test_control_characters_and_lone_surrogates_are_not_valid(
    field: str, before: str, control: str, after: str
) -> None:
    assert unicodedata.category(control) in {"Cc", "Cs"}
    ((_, reason),) = violations(**{field: before + control + after.replace("/", "")})
    assert reason == "CONTROL_CHARACTER"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"scope": ""}, [("scope", "EMPTY")]),
        ({"pool": ""}, [("pool_name", "EMPTY")]),
        ({"pool": "/"}, [("pool_name", "EMPTY"), ("pool_name", "EMPTY")]),
        ({"pool": "/namespace"}, [("pool_name", "EMPTY")]),
        ({"pool": "pool/"}, [("pool_name", "EMPTY")]),
        ({"pool": "pool/a/b"}, [("pool_name", "FORBIDDEN_CHARACTER")]),
        ({"pool": ".mgr"}, [("pool_name", "RESERVED")]),
        ({"image": ""}, [("image_name", "EMPTY")]),
        ({"image": "a@b"}, [("image_name", "FORBIDDEN_CHARACTER")]),
        ({"image": "a/b"}, [("image_name", "FORBIDDEN_CHARACTER")]),
        ({"image": ".hidden"}, [("image_name", "RESERVED")]),
        ({"snapshot": ""}, [("snapshot_name", "EMPTY")]),
        ({"snapshot": "a\0b"}, [("snapshot_name", "CONTROL_CHARACTER")]),
        ({"snapshot": ".mirror.primary.x"}, [("snapshot_name", "RESERVED")]),
        ({"image": "", "snapshot": "@"}, [("image_name", "EMPTY"), ("snapshot_name", "FORBIDDEN_CHARACTER")]),
    ],
)
def test_each_field_says_which_rule_it_breaks(names: dict[str, str], expected: list[tuple[str, str]]) -> None:
    assert violations(**names) == expected


@pytest.mark.parametrize("field", ["scope", "pool", "image", "snapshot"])
def test_a_name_has_255_bytes_at_the_most(field: str) -> None:
    assert parse(**{field: "n" * MAX_NAME_BYTES})
    assert parse(**{field: "é" * (MAX_NAME_BYTES // 2)})
    ((_, reason),) = violations(**{field: "é" * (MAX_NAME_BYTES // 2 + 1)})
    assert reason == "TOO_LONG"
