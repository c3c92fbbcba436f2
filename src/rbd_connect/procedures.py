"""The procedures of the contract, from its descriptor: what each is called on the wire and in Python."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from otterscale.storage.v1.storage_pb2 import DESCRIPTOR

__all__ = ["PROCEDURES", "SERVICE_NAME", "Procedure"]

_SERVICE = DESCRIPTOR.services_by_name["StorageService"]

SERVICE_NAME: str = _SERVICE.full_name


@dataclass(frozen=True, slots=True)
class Procedure:
    """One procedure, by its name in the proto file."""

    name: str
    request_class: type[Message]

    @property
    def path(self) -> str:
        """``/package.Service/Method``, with which it is called on every transport."""
        return f"/{SERVICE_NAME}/{self.name}"

    def of(self, service: object) -> Callable[[Any, Any], Awaitable[Message]]:
        """Give a service's method, named as connectrpc's generated code has it. Raises AttributeError."""
        method: Callable[[Any, Any], Awaitable[Message]] = getattr(service, _snake_case(self.name))
        return method


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


PROCEDURES = tuple(Procedure(method.name, GetMessageClass(method.input_type)) for method in _SERVICE.methods)
