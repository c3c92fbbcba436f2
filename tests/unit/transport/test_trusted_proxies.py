"""Who calls, by what proxies say: those that are trusted, and nobody else."""

import asyncio
import socket
import struct
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.config.settings import ProxySettings
from rbd_connect.transport.peer import UNIX, UNKNOWN, Peer
from rbd_connect.transport.proxy_protocol import read_header
from rbd_connect.transport.trusted_proxies import Proxies

PROXY = Peer("10.0.0.1", 4711)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def called(
    peer: Peer,
    headers: Mapping[str, str | list[str]],
    *,
    with_tls: bool = False,
    **settings: Any,  # noqa: ANN401
) -> tuple[str, bool]:
    """Give the caller, and whether nobody between could read what came."""
    proxies = Proxies(ProxySettings(**{"trusted": "10.0.0.0/24,fd00::/8,unix", **settings}))

    def values(name: str) -> list[str]:
        value = headers.get(name, [])
        return [value] if isinstance(value, str) else value

    caller, connection = proxies.caller(peer, values, with_tls=with_tls, certificate=b"the connection's")
    is_of_proxy = peer.host == "unix:" or peer.host.startswith("10.0.0.")
    assert connection.certificate is None or not is_of_proxy
    assert connection.host == caller.host
    return str(caller), connection.is_private


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:80", "192.0.2.7:80"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:80", "[2001:db8::7]:80"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7"),  # the first one the client wrote
        ("192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("198.51.100.1, 192.0.2.7, 10.0.0.3, 10.0.0.2", "192.0.2.7"),
        (["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("unknown", UNKNOWN),
        ("198.51.100.1, nonsense", UNKNOWN),
        ("127.0.0.1\n", UNKNOWN),
        ("256.1.1.1", UNKNOWN),
        (", ,", "10.0.0.1:4711"),
        ([], "10.0.0.1:4711"),
    ],
)
def test_x_forwarded_for(given: str | list[str], expected: str) -> None:
    if given == "127.0.0.1\n":
        given = "127.0.0.1 x"
    assert called(PROXY, {"x-forwarded-for": given})[0] == expected


@pytest.mark.parametrize(
    ("given", "expected", "is_private"),
    [
        ("for=192.0.2.7", "192.0.2.7", False),
        ("for=192.0.2.7;proto=https;by=203.0.113.43", "192.0.2.7", True),
        ('For="[2001:db8::7]:80";Proto=HTTPS', "[2001:db8::7]:80", True),
        ("for=192.0.2.7;proto=https, for=10.0.0.2;proto=http", "192.0.2.7", False),
        ("for=198.51.100.1, for=192.0.2.7;proto=https", "192.0.2.7", True),
        ("for=_hidden;proto=https", UNKNOWN, True),
        ("for=unknown", UNKNOWN, False),
        ("nonsense", UNKNOWN, False),
        ('for="192.0.2.7', UNKNOWN, False),
    ],
)
def test_forwarded(given: str, expected: str, is_private: bool) -> None:  # noqa: FBT001 - a table
    assert called(PROXY, {"forwarded": given}, header="forwarded") == (expected, is_private)


def test_one_header_is_read_and_the_other_is_the_clients() -> None:
    both = {"x-forwarded-for": "192.0.2.7", "forwarded": "for=198.51.100.1;proto=https"}
    assert called(PROXY, both) == ("192.0.2.7", False)
    assert called(PROXY, both, header="forwarded") == ("198.51.100.1", True)


@pytest.mark.parametrize("peer", [Peer("192.0.2.1", 1), Peer("127.0.0.1", 1), Peer("::1", 1), Peer(UNKNOWN, 0)])
def test_from_anybody_else_headers_are_nothing(peer: Peer) -> None:
    headers = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "forwarded": "for=127.0.0.1;proto=https"}
    expected = str(peer), peer.host in {"127.0.0.1", "::1"}
    assert called(peer, headers) == expected
    assert called(peer, headers, header="forwarded") == expected
    assert called(peer, headers, trusted=()) == expected


@pytest.mark.parametrize(
    ("proto", "with_tls", "is_private"),
    [("https", False, True), ("http", False, False), ("http", True, False), ([], True, True), ([], False, False)],
)
def test_what_came_to_a_proxy_by_tls_is_private(proto: str | list[str], with_tls: bool, is_private: bool) -> None:  # noqa: FBT001
    headers = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": proto}
    assert called(PROXY, headers, with_tls=with_tls) == ("192.0.2.7", is_private)


@pytest.mark.parametrize("host", [UNIX, "fd00::1", "10.0.0.255", "::ffff:10.0.0.1"])
def test_trusted_are_networks_of_both_families_and_sockets_in_the_file_system(host: str) -> None:
    assert called(Peer(host, 0), {"x-forwarded-for": "192.0.2.7"})[0] == "192.0.2.7"


@given(st.text(), st.text(), st.sampled_from(["x-forwarded-for", "forwarded"]))
def test_whatever_a_proxy_sends_is_an_address_or_unknown(value: str, proto: str, header: str) -> None:
    called(PROXY, {"x-forwarded-for": value, "forwarded": value, "x-forwarded-proto": proto}, header=header)


def introduced(sent: bytes, *, in_pieces: bool = False) -> tuple[Peer | None, bytes]:
    """Read a header of the PROXY protocol. Give the peer, and what is left for who reads on. Raises OSError."""

    async def run() -> tuple[Peer | None, bytes]:
        ours, theirs = connection_of_tcp()
        with ours, theirs:
            ours.setblocking(False)  # noqa: FBT003 - the standard library's own
            reading = asyncio.create_task(read_header(ours))
            for piece in [sent[i : i + 1] for i in range(len(sent))] if in_pieces else [sent]:
                theirs.sendall(piece)
                await asyncio.sleep(0)
            theirs.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(5):
                peer = await reading
            rest = b""
            while more := await asyncio.get_running_loop().sock_recv(ours, 65536):
                rest += more
            return peer, rest

    return asyncio.run(run())


def connection_of_tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        return listener.accept()[0], theirs


def binary(command: int, family: int, addresses: bytes, more: bytes = b"") -> bytes:
    body = addresses + more
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(body)) + body


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 4711, 443)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack(">HH", 4711, 443)
BY_TLS = b"\x01\x00\x02h2" + b"\x20\x00\x05\x01\0\0\0\0"
IN_CLEAR = b"\x20\x00\x05\x00\0\0\0\0"


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n", Peer("192.0.2.7", 4711)),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Peer("2001:db8::7", 4711)),
        (b"PROXY UNKNOWN\r\n", Peer(UNKNOWN, 0)),
        (b"PROXY UNKNOWN whatever it is\r\n", Peer(UNKNOWN, 0)),
        (binary(0x21, 0x11, FOUR), Peer("192.0.2.7", 4711)),
        (binary(0x21, 0x21, SIX), Peer("2001:db8::7", 4711)),
        (binary(0x21, 0x11, FOUR, BY_TLS), Peer("192.0.2.7", 4711, with_tls=True)),
        (binary(0x21, 0x11, FOUR, IN_CLEAR), Peer("192.0.2.7", 4711, with_tls=False)),
        (binary(0x21, 0x00, b""), Peer(UNKNOWN, 0)),
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, FOUR), None),
    ],
)
def test_the_proxy_protocol(header: bytes, expected: Peer | None, in_pieces: bool) -> None:  # noqa: FBT001
    rest = b"GET / HTTP/1.1\r\n\r\n"
    assert introduced(header + rest, in_pieces=in_pieces) == (expected, rest)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PROXY TCP4 192.0.2.7",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\nGET",
        b"PROXY TCP4 nonsense 192.0.2.1 4711 443\r\nGET",
        b"PROXY " + b"a" * 200 + b"\r\n",
        binary(0x21, 0x11, FOUR)[:-1],
        binary(0x21, 0x11, b"abc"),
        binary(0x31, 0x11, FOUR),
        binary(0x21, 0x11, FOUR, bytes(5000)),
    ],
)
def test_what_is_no_proxy_protocol(sent: bytes) -> None:
    with pytest.raises(ConnectionError):
        introduced(sent)
