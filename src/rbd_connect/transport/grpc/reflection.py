"""Reflection over gRPC, so that clients need no schema: v1alpha, which grpcio has, and v1, which differs by its name.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from .caller import Context
from .streams import Streams

__all__ = ["add_reflection"]

_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"


def add_reflection(server: grpc.aio.Server, services: Sequence[str], streams: Streams, seconds: float) -> None:
    """Describe services, and reflection itself, to who asks. A stream may be open for so many ``seconds``."""
    _describe_new()
    names = [*services, *(f"{package}.ServerReflection" for package in (_OLD, _NEW))]
    servicer: Any = reflection.aio.ReflectionServicer(names)

    async def answer(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        async with streams.held(context, seconds):
            async for response in servicer.ServerReflectionInfo(requests, context):
                yield response

    handler = grpc.stream_stream_rpc_method_handler(
        answer,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for package in (_OLD, _NEW):
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{package}.ServerReflection", methods),))


def _describe_new() -> None:
    """Add the description of v1 to those that Python's protobuf knows: that of v1alpha, under other names."""
    old = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    new = json_format.Parse(json_format.MessageToJson(old).replace("v1alpha", "v1"), FileDescriptorProto())
    descriptor_pool.Default().AddSerializedFile(new.SerializeToString())
