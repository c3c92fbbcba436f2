"""What RFC 9112 asks a server to bear, and what clients and proxies send."""

import time
from dataclasses import replace

import pytest

from support.server import Server
from support.wire import HTTP, Request, connected, http1_bytes, read_http1, send, valid

every_transport = pytest.mark.parametrize("transport", HTTP)


def chunked(request: Request) -> Request:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(request.body), request.body)
    return replace(request, body=body).with_header(b"transfer-encoding", b"chunked")


@every_transport
def test_a_target_in_absolute_form(server: Server, transport: str) -> None:
    """Section 3.2.2. The scheme is the client's affair."""
    whole = valid(transport)
    for start in (b"http://localhost", b"https://127.0.0.1:1", b"HTTP://localhost"):
        assert send(server, replace(whole, path=start + whole.path)).reason == "SCOPE_NOT_FOUND"
    for target in (
        b"http://localhost",
        b"http://localhost/",
        b"ftp://localhost" + whole.path,
        b"//localhost" + whole.path,
    ):
        assert send(server, replace(whole, path=target)).reason == "UNKNOWN_PROCEDURE"


@every_transport
def test_two_framings_are_answered_by_chunks_and_the_connection_ends(server: Server, transport: str) -> None:
    """Section 6.3: what may be the next request is none."""
    whole = valid(transport)
    both = chunked(whole)
    both = replace(both, headers=[*both.headers, (b"content-length", str(len(whole.body)).encode())])
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(both) + http1_bytes(whole))
        answer = read_http1(connection)
        assert (answer.reason, answer.headers["connection"]) == ("SCOPE_NOT_FOUND", b"close")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"chunked, chunked"])
def test_a_coding_that_is_not_known_is_told_so(server: Server, coding: bytes) -> None:
    """Section 6.1."""
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(valid("connect-json").with_header(b"transfer-encoding", coding)))
        answer = read_http1(connection)
        assert (answer.status, answer.reason) == (501, "MALFORMED_HTTP")
        assert connection.recv(1) == b""


@every_transport
@pytest.mark.parametrize("line", [b"\r\n", b"\n"])
def test_an_empty_line_before_a_request(server: Server, transport: str, line: bytes) -> None:
    """Section 2.2; also one that comes by pieces, and one after a body, as old browsers sent it."""
    whole = http1_bytes(valid(transport))
    with connected(server.address) as connection:
        connection.sendall(line + whole + line + whole)
        for _ in range(2):
            assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
        for byte in line:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)  # each is to come by itself
        connection.sendall(whole)
        assert read_http1(connection).reason == "SCOPE_NOT_FOUND"


def test_empty_lines_without_end_are_no_request(server: Server) -> None:
    with connected(server.address) as connection:
        connection.sendall(b"\r\n" * 1000)
        assert read_http1(connection).reason == "MALFORMED_HTTP"


@every_transport
@pytest.mark.parametrize("name", [b"GZIP", b"Gzip"])
def test_codings_in_capitals_are_accepted_for_the_answer_too(server: Server, transport: str, name: bytes) -> None:
    accepted = b"grpc-accept-encoding" if transport == "grpc-web" else b"accept-encoding"
    assert send(server, valid(transport).with_header(accepted, name)).reason == "SCOPE_NOT_FOUND"


@pytest.mark.parametrize("transport", [*HTTP, "grpc"])
@pytest.mark.parametrize(
    "given",
    [
        "7F000001:8296_7F00001E:1F90_4F7B0A69_0003:790E",
        "00000000000000000000000000000001:9C40_00000000000000000000000000000001:1F90_4F7B0A69_0003:790E",
        "9f3c:job-4711",
    ],
)
def test_a_proxys_request_id_is_kept(server: Server, transport: str, given: str) -> None:
    """HAProxy's, by both families."""
    answer = send(server, valid(transport).with_header(b"x-request-id", given.encode()))
    assert answer.headers["x-request-id"].decode() == given


@pytest.mark.parametrize("transport", [*HTTP, "grpc"])
@pytest.mark.parametrize("given", ["a b", 'a"b', "a\\b", "a" * 65, "a=b", "{x}", "a\tb"])
def test_one_that_could_stand_for_something_else_is_not(server: Server, transport: str, given: str) -> None:
    answer = send(server, valid(transport).with_header(b"x-request-id", given.encode()))
    assert answer.headers["x-request-id"].decode() != given


def test_a_body_that_may_not_come_ends_the_connection(server: Server) -> None:
    """Who asks first whether to send it (Expect) may send its next request in place of it: RFC 9110, section 10.1.1."""
    whole = replace(valid("connect-json"), path=b"/nowhere").with_header(b"expect", b"100-continue")
    head = http1_bytes(whole)[: -len(whole.body)]
    with connected(server.address) as connection:
        connection.sendall(head)
        answer = read_http1(connection)
        assert (answer.reason, answer.headers["connection"]) == ("UNKNOWN_PROCEDURE", b"close")


@every_transport
def test_chunks_as_clients_cut_them(server: Server, transport: str) -> None:
    """Few small ones, with extensions and a trailer."""
    whole = valid(transport)
    pieces = [whole.body[i : i + 7] for i in range(0, len(whole.body), 7)]
    body = b"".join(b"%x;name=value\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nx-a: b\r\n\r\n"
    cut = replace(whole, body=body).with_header(b"transfer-encoding", b"chunked")
    assert send(server, cut).reason == "SCOPE_NOT_FOUND"
