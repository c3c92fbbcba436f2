"""Names of images and namespaces, whatever bytes they are of and however many there are: `rbd` prints the same."""

import itertools
from collections.abc import Iterator

import pytest
import rados

from rbd_connect.ceph.objects.directory import Names, image_names, namespace_names
from rbd_connect.devcluster import DevCluster
from support.places import add_to_directory, listed_names, new_pools, rbd_bytes
from support.tools import Tools

_NUMBERS = itertools.count()
ODD = [b"\xff", b"a\xc3", b"\xed\xa0\x80", "ü\u2028".encode(), b"a\nb", b"a/b", b"\x01", b"x" * 2000]
MANY = [b"image-%04d" % number for number in range(1000)]
NONE_IS_UTF8 = [b"i\xff%04d" % number for number in range(600)]  # more than two pages of them in a row


@pytest.fixture
def pool(cluster: DevCluster) -> Iterator[str]:
    name = f"directory-{next(_NUMBERS)}"
    with new_pools(cluster, name):
        yield name


@pytest.fixture
def ioctx(tools: Tools, pool: str) -> Iterator[rados.Ioctx]:
    with tools.ioctx(pool) as ioctx:
        yield ioctx


def names_of(names: set[bytes]) -> Names:
    return Names.of(names)


@pytest.mark.parametrize("names", [[], ODD[:4], MANY, [*ODD[:4], *MANY, *NONE_IS_UTF8, b"z"]], ids=len)
def test_names_of_images_are_those_that_rbd_prints(
    cluster: DevCluster, ioctx: rados.Ioctx, pool: str, names: list[bytes]
) -> None:
    add_to_directory(ioctx, names)
    assert image_names(ioctx) == names_of(listed_names(cluster, b"ls", pool.encode())) == names_of(set(names))


def test_names_may_be_of_any_bytes(ioctx: rados.Ioctx) -> None:
    add_to_directory(ioctx, ODD)
    found = image_names(ioctx)
    assert found == names_of(set(ODD))
    assert len(found.unreadable) == 3


def test_images_of_format_1_are_in_the_default_namespace(
    cluster: DevCluster, ioctx: rados.Ioctx, pool: str, tools: Tools
) -> None:
    for name in (b"old", b"\xffold"):
        words = [b"create", b"--size=1M", b"--image-format=1", b"--pool", pool.encode(), b"--image", name]
        rbd_bytes(cluster, *words, RBD_FORCE_ALLOW_V1="1")
    add_to_directory(ioctx, [b"new"])
    assert image_names(ioctx) == names_of(listed_names(cluster, b"ls", pool.encode()))
    assert image_names(ioctx).readable == ("new", "old")
    tools.rbd("namespace", "create", f"{pool}/team")
    with tools.ioctx(pool, "team") as of_team:
        assert image_names(of_team) == Names((), ())


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 3, b"\x00" * 4 + b"\xff" * 8, b"\x00" * 4 + b"\x01\x00\x00\x00" + b"\xff" * 9]
)
def test_a_garbled_directory_of_format_1_hides_no_other(ioctx: rados.Ioctx, garbage: bytes) -> None:
    ioctx.write_full("rbd_directory", garbage)
    add_to_directory(ioctx, [b"new"])
    assert image_names(ioctx).readable == ("new",)


def test_names_of_namespaces_are_those_that_rbd_prints(cluster: DevCluster, ioctx: rados.Ioctx, pool: str) -> None:
    assert namespace_names(ioctx) == Names((), ())
    names = [*ODD[:3], *(b"team-%04d" % number for number in range(600))]
    add_to_directory(ioctx, names, oid="rbd_namespace")
    assert namespace_names(ioctx) == names_of(listed_names(cluster, b"namespace", b"ls", pool.encode()))
    assert len(namespace_names(ioctx).readable) == 600
