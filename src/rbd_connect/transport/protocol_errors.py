"""What a transport refuses before a method is called, in one wording for all of them."""

import asyncio

from connectrpc.code import Code

from rbd_connect.model.errors import ServiceError
from rbd_connect.rpc import deadline as rpc

__all__ = [
    "bad_header",
    "bad_http",
    "bad_timeout",
    "encoding_missing",
    "late_body",
    "malformed",
    "no_version",
    "not_local",
    "not_supported",
    "too_large",
    "too_many_chunks",
    "too_many_header_lines",
    "too_many_headers",
    "too_slow",
    "unknown_content_type",
    "unknown_encoding",
    "unknown_method",
    "wrong_method",
]

_UNREADABLE = (
    "The request's body is not this call's message. It must be what the headers Content-Type and Content-Encoding say, "
    "as this service's proto file has it."
)


def malformed(problem: str = _UNREADABLE) -> ServiceError:
    return ServiceError(Code.INVALID_ARGUMENT, "MALFORMED_REQUEST", problem)


def too_large(limit: int) -> ServiceError:
    return ServiceError(Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", f"A message may have {limit} bytes at the most.")


def late_body(seconds: int) -> tuple[float, ServiceError]:
    """Say until when on the event loop's clock a body may come, and what is wrong with a later one."""
    patience = asyncio.get_running_loop().time() + seconds
    deadline = rpc.deadline()
    if deadline is None or patience < deadline:
        return patience, too_slow(seconds)
    return deadline, rpc.not_started()


def too_slow(seconds: int) -> ServiceError:
    return ServiceError(
        Code.DEADLINE_EXCEEDED, "REQUEST_TOO_SLOW", f"The request did not arrive within {seconds} s. Nothing was done."
    )


def unknown_method(path: str) -> ServiceError:
    return ServiceError(Code.UNIMPLEMENTED, "UNKNOWN_PROCEDURE", f"There is no method {_shown(path)}.")


def wrong_method(method: str) -> ServiceError:
    return ServiceError(
        Code.UNIMPLEMENTED, "METHOD_NOT_ALLOWED", f"Methods are called by POST; the request was {_shown(method)}."
    )


def unknown_content_type(content_type: str, known: tuple[str, ...], grpc_address: str) -> ServiceError:
    message = f"The server reads no {_shown(content_type)} here, but {', '.join(known)}."
    if content_type.startswith("application/grpc") and not content_type.startswith("application/grpc-web"):
        message = f"gRPC is served over HTTP/2 on {grpc_address}; this is the address for Connect and gRPC-Web."
    return ServiceError(Code.UNIMPLEMENTED, "CONTENT_TYPE", message)


def unknown_encoding() -> ServiceError:
    return ServiceError(Code.UNIMPLEMENTED, "ENCODING", "The server reads messages as they are, or with gzip.")


def encoding_missing() -> ServiceError:
    """The code is what https://github.com/grpc/grpc/blob/master/doc/compression.md wants."""
    return ServiceError(
        Code.INTERNAL,
        "ENCODING_MISSING",
        "The message is marked as compressed, but the header grpc-encoding does not say how. Send grpc-encoding: gzip.",
    )


def not_supported() -> ServiceError:
    return ServiceError(Code.UNIMPLEMENTED, "NOT_SUPPORTED", "The server does not support this form of a request.")


def no_version() -> ServiceError:
    return ServiceError(
        Code.INVALID_ARGUMENT,
        "PROTOCOL_VERSION",
        "The header Connect-Protocol-Version is required; the one allowed value is 1.",
    )


def bad_timeout(header: str, form: str) -> ServiceError:
    return ServiceError(Code.INVALID_ARGUMENT, "TIMEOUT", f"The header {header} must be {form}.")


def bad_header(name: str, problem: str) -> ServiceError:
    return ServiceError(Code.INVALID_ARGUMENT, "MALFORMED_HEADER", f"The header {_shown(name)} {problem}.")


def bad_http(grpc_address: str) -> ServiceError:
    return ServiceError(
        Code.INVALID_ARGUMENT,
        "MALFORMED_HTTP",
        f"This is no HTTP/1.1 request. gRPC is served over HTTP/2 on {grpc_address}.",
    )


def too_many_headers(limit: int) -> ServiceError:
    return ServiceError(
        Code.RESOURCE_EXHAUSTED, "HEADERS_TOO_LARGE", f"A request's headers may have {limit} bytes at the most."
    )


def too_many_header_lines(limit: int) -> ServiceError:
    return ServiceError(
        Code.RESOURCE_EXHAUSTED, "HEADERS_TOO_LARGE", f"A request may have {limit} headers at the most."
    )


def too_many_chunks(limit: int) -> ServiceError:
    return ServiceError(
        Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE", f"A request's body may come in {limit} chunks at the most."
    )


def not_local() -> ServiceError:
    return ServiceError(
        Code.PERMISSION_DENIED,
        "NOT_LOCAL",
        "Without authentication, the server is for callers on its own machine, by a name like localhost or 127.0.0.1.",
    )


def _shown(text: str) -> str:
    """Quote what a client sent, and cut it where it is too long to be of use."""
    return repr(text if len(text) <= 100 else text[:100] + "…")  # noqa: PLR2004 - long enough for any that is meant
