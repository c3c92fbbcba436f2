"""A failure as google.rpc.Status, which gRPC and gRPC-Web carry."""

from connectrpc.code import Code
from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, status_pb2

from rbd_connect.rpc import deadline as rpc

__all__ = ["status_message"]


def status_message(failure: rpc.Failure) -> status_pb2.Status:
    details = []
    for message in failure.details:
        packed = Any()
        packed.Pack(message)
        details.append(packed)
    return status_pb2.Status(code=_number(failure.code), message=failure.message, details=details)


def _number(code: Code) -> int:
    return code_pb2.Code.Value("CANCELLED" if code is Code.CANCELED else code.name)
