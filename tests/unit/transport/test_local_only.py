"""Which names are this machine's."""

import pytest

from rbd_connect.transport.local_only import is_local_name


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8080", "LocalHost", "localhost.", "api.localhost:1", "127.0.0.1", "127.0.0.1:8080",
        "127.1.2.3", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]", "",
    ],
)  # fmt: skip
def test_its_own(host: str) -> None:
    assert is_local_name(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example",
        "127.0.0.1.nip.io", "10.0.0.1", "[::2]", "::1", "localhost@evil.example", "localhost:8080@evil.example",
        "evil.example/localhost", "0.0.0.0", "[::]", "2130706433", "0x7f000001", "127.1", "localhost,evil.example",  # noqa: S104 - as a name
        "unix:", "\xff",
    ],
)  # fmt: skip
def test_others(host: str) -> None:
    assert not is_local_name(host)
