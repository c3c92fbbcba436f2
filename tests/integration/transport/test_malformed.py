"""Requests that are broken in every way known: what is answered to each, on each transport.

The body of every answer is read by ``support.wire``, which fails on one that is not in the transport's form.
"""

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.server import Server, run_server
from support.tools import write_scope
from support.wire import BINARY, CONNECT, FRAMED, HTTP, TRANSPORTS, Request, framed, send, valid

Change = Callable[[Request], Request]

# The HTTP status where no other is given; gRPC and gRPC-Web say 200 to whatever is a call.
STATUS = {
    "invalid_argument": 400, "resource_exhausted": 429, "unimplemented": 501, "deadline_exceeded": 504,
    "not_found": 404, "internal": 500,
}  # fmt: skip
BOMB_BYTES = 50_000_000


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose log holds nothing but what these tests cause."""
    with run_server(tmp_path_factory.mktemp("malformed"), write_scope("test", cluster)) as server:
        yield server
        log = server.log.read_text()
        assert "Traceback" not in log
        assert not re.search(r"\b(ERROR|WARNING|CRITICAL)\b", log)


@dataclass(frozen=True)
class Case:
    """A way to break a request, and the answer: code, reason, and the HTTP status where it is not the code's."""

    name: str
    transports: tuple[str, ...]
    change: Change
    code: str
    reason: str
    status: int | None = None


def message(body: bytes) -> Change:
    """Send another message, in the frame that the transport asks for."""
    return lambda request: request.with_message(body)


def body(body: bytes) -> Change:
    return lambda request: replace(request, body=body)


def header(name: bytes, value: bytes) -> Change:
    return lambda request: request.with_header(name, value)


def again(name: bytes, value: bytes) -> Change:
    return lambda request: replace(request, headers=[*request.headers, (name, value)])


def without(name: bytes) -> Change:
    return lambda request: request.without_header(name)


def method(name: bytes) -> Change:
    return lambda request: replace(request, method=name)


def path(pattern: bytes, replacement: bytes) -> Change:
    return lambda request: replace(request, path=re.sub(pattern, replacement, request.path))


def timeout(digits: bytes, unit: bytes = b"S") -> Change:
    def change(request: Request) -> Request:
        is_connect = request.transport in CONNECT
        return request.with_header(
            b"connect-timeout-ms" if is_connect else b"grpc-timeout", digits if is_connect else digits + unit
        )

    return change


def encoding(name: bytes) -> Change:
    return lambda request: request.with_header(
        b"content-encoding" if request.transport in CONNECT else b"grpc-encoding", name
    )


def compressed(data: bytes) -> Change:
    """Send data that is said to be compressed with gzip."""
    return lambda request: replace(
        encoding(b"gzip")(request), body=framed(data, flags=1) if request.transport in FRAMED else data
    )


def huge(size: int) -> Change:
    """Send a message that is well-formed but for its size."""

    def change(request: Request) -> Request:
        if request.transport == "connect-json":
            return replace(request, body=b'{"scope": "' + b"a" * size + b'"}')
        return message(b"\x0a" + varint(size) + b"a" * size)(request)

    return change


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def json_cases() -> Iterator[Case]:
    malformed = partial(Case, code="invalid_argument", reason="MALFORMED_REQUEST")
    for name, text in {
        "wrong-type": b'{"scope": 5}',
        "bad-utf-8": b'{"scope": "\xff"}',
        "truncated": b'{"scope": "a',
        "duplicate-keys": b'{"scope": "a", "scope": "b"}',
        "deep-nesting": b'{"x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        "array": b"[]",
        "string": b'"x"',
        "null": b"null",
        "empty": b"",
        "lone-surrogate": rb'{"scope": "\ud800"}',
        "nan": b'{"scope": NaN}',
        "byte-order-mark": b"\xef\xbb\xbf{}",
        "trailing-text": b"{} {}",
    }.items():
        yield malformed(f"json-{name}", ("connect-json",), message(text))
    yield Case("json-nothing-set", ("connect-json",), message(b"{}"), "invalid_argument", "INVALID_NAME")
    yield Case("json-unknown-field", ("connect-json",), message(b'{"x": [1]}'), "invalid_argument", "INVALID_NAME")


def binary_cases() -> Iterator[Case]:
    malformed = partial(Case, code="invalid_argument", reason="MALFORMED_REQUEST")
    for name, data in {
        "garbage": b"\xff" * 20,
        "truncated-varint": b"\x0a\xff",
        "truncated-field": b"\x0a\x05ab",
        "bad-utf-8": b"\x0a\x02\xff\xfe",
        "deep-nesting": b"\x0b" * 20_000,
        "wire-type-7": b"\x1f\x8bxx",
    }.items():
        yield malformed(f"binary-{name}", BINARY, message(data))
    # For protobuf, a field of another wire type than it knows is a field that it does not know.
    yield Case("binary-other-wire-type", BINARY, message(b"\x08\x01"), "invalid_argument", "INVALID_NAME")
    yield Case("binary-empty", BINARY, message(b""), "invalid_argument", "INVALID_NAME")


def frame_cases() -> Iterator[Case]:
    one = framed(b"\x0a\x01a")
    yield Case("frame-none", FRAMED, body(b""), "unimplemented", "NOT_SUPPORTED")
    yield Case("frame-two", FRAMED, body(one * 2), "unimplemented", "NOT_SUPPORTED")
    for name, data in {"short": b"\0\0", "long": b"\0\0\0\1\0abc"}.items():
        yield Case(f"frame-{name}", ("grpc-web",), body(data), "invalid_argument", "MALFORMED_REQUEST")
        yield Case(f"frame-{name}", ("grpc",), body(data), "unimplemented", "NOT_SUPPORTED")
    yield Case("frame-flags", ("grpc-web",), body(framed(b"", 0x7E)), "invalid_argument", "MALFORMED_REQUEST")
    compressed_unsaid = body(framed(b"a", flags=1))
    # https://github.com/grpc/grpc/blob/master/doc/compression.md wants this code.
    yield Case("frame-compressed-unsaid", ("grpc-web",), compressed_unsaid, "internal", "ENCODING_MISSING")
    yield Case("frame-compressed-unsaid", ("grpc",), compressed_unsaid, "internal", "")


def size_cases() -> Iterator[Case]:
    too_large = partial(Case, code="resource_exhausted", reason="MESSAGE_TOO_LARGE")
    bomb = gzip.compress(bytes(BOMB_BYTES))
    yield too_large("size-over-the-limit", TRANSPORTS, huge(65_536))
    yield too_large("size-1-MB", HTTP, huge(1_000_000))
    yield Case("size-1-MB", ("grpc",), huge(1_000_000), "resource_exhausted", "")
    yield too_large("size-gzip-bomb", TRANSPORTS, compressed(bomb))
    yield too_large("size-said-to-be-1-TB", HTTP, header(b"content-length", b"1000000000000"))
    endless = b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n"
    chunked = header(b"transfer-encoding", b"chunked")
    yield too_large("size-chunked-without-end", CONNECT, lambda request: body(endless * 3)(chunked(request)))
    many = [(b"x-%d" % number, b"a" * 800) for number in range(100)]
    for name, change in {
        "one": again(b"x-one", b"a" * 80_000),
        "many": lambda request: replace(request, headers=[*request.headers, *many]),
    }.items():
        yield Case(f"headers-80-KB-{name}", HTTP, change, "resource_exhausted", "HEADERS_TOO_LARGE", 431)
        yield Case(f"headers-80-KB-{name}", ("grpc",), change, "resource_exhausted", "HEADERS_TOO_LARGE")


def header_cases() -> Iterator[Case]:
    bad_header = partial(Case, code="invalid_argument", reason="MALFORMED_HEADER")
    yield bad_header("header-bad-utf-8", CONNECT, header(b"accept-encoding", b"gzip, \xff\xfe"))
    yield bad_header("header-twice", HTTP, again(b"content-type", b"application/json"), status=400)
    yield Case("header-bad-name", HTTP, again(b"x no", b"a"), "invalid_argument", "MALFORMED_HTTP", 400)
    yield Case("header-bad-name", ("grpc",), again(b"x no", b"a"), "internal", "")
    for name, change in {
        "none": without(b"content-type"),
        "text": header(b"content-type", b"text/plain"),
        "streaming": header(b"content-type", b"application/connect+json"),
        "grpc": header(b"content-type", b"application/grpc"),
    }.items():
        yield Case(f"content-type-{name}", HTTP, change, "unimplemented", "CONTENT_TYPE", 415)
    for name in ("br", "deflate", "gzip, gzip"):
        yield Case(f"encoding-{name}", HTTP, encoding(name.encode()), "unimplemented", "ENCODING")
    yield Case("encoding-br", ("grpc",), encoding(b"br"), "internal", "")
    yield Case("encoding-deflate", ("grpc",), encoding(b"deflate"), "unimplemented", "")
    for name, data in {"no-gzip": b"abc", "truncated-gzip": gzip.compress(b"a" * 100)[:20]}.items():
        yield Case(f"encoding-{name}", TRANSPORTS, compressed(data), "invalid_argument", "MALFORMED_REQUEST")
    for name, change in {
        "missing": without(b"connect-protocol-version"),
        "other": header(b"connect-protocol-version", b"2"),
        "empty": header(b"connect-protocol-version", b""),
    }.items():
        yield Case(f"version-{name}", CONNECT, change, "invalid_argument", "PROTOCOL_VERSION")


def timeout_cases() -> Iterator[Case]:
    for text in ("-1", "abc", "1.5", "1_0", "\u0661", ""):
        change = timeout(text.encode())
        yield Case(f"timeout-{text!a}", HTTP, change, "invalid_argument", "TIMEOUT")
        yield Case(f"timeout-{text!a}", ("grpc",), change, "internal", "")
    yield Case("timeout-eleven-digits", HTTP, timeout(b"12345678901"), "invalid_argument", "TIMEOUT")
    yield Case("timeout-unit", ("grpc-web",), timeout(b"1", b"x"), "invalid_argument", "TIMEOUT")
    yield Case("timeout-zero", HTTP, timeout(b"0"), "deadline_exceeded", "NOT_STARTED")
    yield Case("timeout-zero", ("grpc",), timeout(b"0"), "deadline_exceeded", "")


def target_cases() -> Iterator[Case]:
    for name in ("GET", "PUT", "OPTIONS", "DELETE", "CONNECT", "get"):
        yield Case(f"method-{name}", HTTP, method(name.encode()), "unimplemented", "METHOD_NOT_ALLOWED", 405)
    tunnel = method(b"CONNECT")
    elsewhere = path(b".+", b"/")
    yield Case(
        "method-CONNECT-elsewhere",
        HTTP,
        lambda request: tunnel(elsewhere(request)),
        "unimplemented",
        "METHOD_NOT_ALLOWED",
        405,
    )
    for name, change in {
        "unknown-method": path(b"Create", b"Mangle"),
        "unknown-service": path(b"Storage", b"Garage"),
        "trailing-slash": path(b"$", b"/"),
        "two-slashes": path(b"^/", b"//"),
        "other-case": path(b"Create", b"create"),
        "percent": path(b"Create", b"%43reate"),
        "root": path(b".+", b"/"),
        "dots": path(b"^/", b"/x/../"),
    }.items():
        yield Case(f"path-{name}", CONNECT, change, "unimplemented", "UNKNOWN_PROCEDURE", 404)
        yield Case(f"path-{name}", FRAMED, change, "unimplemented", "UNKNOWN_PROCEDURE")


CASES = [
    *json_cases(), *binary_cases(), *frame_cases(), *size_cases(), *header_cases(), *timeout_cases(), *target_cases(),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "transport"),
    [pytest.param(case, name, id=f"{case.name}-{name}") for case in CASES for name in case.transports],
)
def test_a_broken_request(server: Server, case: Case, transport: str) -> None:
    answer = send(server, case.change(valid(transport)))
    assert (answer.code, answer.reason) == (case.code, case.reason)
    assert answer.status == (case.status or (200 if transport in FRAMED else STATUS[case.code]))
    if case.reason:
        assert answer.message.endswith(".")
        assert answer.headers.get("x-request-id")


def unframed(request: Request) -> bytes:
    return request.body[5:] if request.transport in FRAMED else request.body


def with_charset(request: Request) -> Request:
    return request.with_header(b"content-type", dict(request.headers)[b"content-type"].upper() + b"; charset=utf-8")


WELL_FORMED: dict[str, tuple[tuple[str, ...], Change]] = {
    "as-it-is": (TRANSPORTS, lambda request: request),
    "a-query": (HTTP, path(b"$", b"?x=1")),
    "a-charset": (HTTP, with_charset),
    "gzip": (TRANSPORTS, lambda request: compressed(gzip.compress(unframed(request)))(request)),
    "gzip-of-nothing-much": (TRANSPORTS, lambda request: compressed(gzip.compress(unframed(request), 0))(request)),
    "the-longest-timeout": (TRANSPORTS, timeout(b"99999999")),
    "a-header-that-nobody-reads-of-any-bytes": (TRANSPORTS, again(b"x-note", b"\xff\xfe\x01")),
    "gzip-in-capitals": (
        HTTP,
        lambda request: encoding(b"GZIP")(compressed(gzip.compress(unframed(request)))(request)),
    ),
    "gzip-by-its-old-name": (
        CONNECT,
        lambda request: encoding(b"x-gzip")(compressed(gzip.compress(unframed(request)))(request)),
    ),
    "headers-that-nobody-knows": (TRANSPORTS, again(b"x-note", b"a" * 5000)),
}


@pytest.mark.parametrize(
    ("change", "transport"),
    [
        pytest.param(change, name, id=f"{label}-{name}")
        for label, (names, change) in WELL_FORMED.items()
        for name in names
    ],
)
def test_a_request_that_only_looks_odd(server: Server, change: Change, transport: str) -> None:
    assert send(server, change(valid(transport))).reason == "SCOPE_NOT_FOUND"


def test_memory_stays_flat_under_gzip_bombs(server: Server) -> None:
    """A bomb of 50 MB takes no more than what the limit lets out of it."""
    bomb = compressed(gzip.compress(bytes(BOMB_BYTES)))
    for transport in TRANSPORTS:
        assert send(server, bomb(valid(transport))).reason == "MESSAGE_TOO_LARGE"
    before = peak_memory(server)
    for _ in range(20):
        for transport in TRANSPORTS:
            send(server, bomb(valid(transport)))
    assert peak_memory(server) - before < BOMB_BYTES // 10


def peak_memory(server: Server) -> int:
    """The most memory that the process ever had, in bytes (VmHWM of proc(5))."""
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
