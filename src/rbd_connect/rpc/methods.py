"""The methods of the contract, from its descriptor: what each is called on the wire, in Python, and in grants.

Transports serve any Api; the storage service is one.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from otterscale.storage.v1.storage_connect import StorageServiceASGIApplication
from otterscale.storage.v1.storage_pb2 import DESCRIPTOR
from rbd_connect.config.access import Action

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application

__all__ = ["METHODS", "SERVICE_NAME", "STORAGE", "Api", "Method", "name_of_call"]

_SERVICE = DESCRIPTOR.services_by_name["StorageService"]

SERVICE_NAME: str = _SERVICE.full_name

# What must be granted to call it. A method that is not here stops the program at its start.
_ACTIONS: Mapping[str, Action] = {
    "ListPools": "list",
    "ListImages": "list",
    "CreateImage": "image.create",
    "UpdateImage": "image.update",
    "DeleteImage": "image.delete",
    "CreateImageSnapshot": "create",
    "DeleteImageSnapshot": "delete",
    "RollbackImageSnapshot": "rollback",
    "ProtectImageSnapshot": "protect",
    "UnprotectImageSnapshot": "unprotect",
}


@dataclass(frozen=True, slots=True)
class Method:
    """One method, by its names in the proto file, and the action that must be granted to call it."""

    service: str
    name: str
    request_class: type[Message]
    action: Action

    @property
    def path(self) -> str:
        """``/package.Service/Method``, with which it is called on every transport."""
        return f"/{self.service}/{self.name}"

    @property
    def python_name(self) -> str:
        """Its name as connectrpc's generated code has it."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def changes(self) -> bool:
        """Whether it changes something."""
        return self.action != "list"

    def of(self, service: object) -> Callable[[Any, Any], Awaitable[Message]]:
        """Give a service's method. Raises AttributeError."""
        method: Callable[[Any, Any], Awaitable[Message]] = getattr(service, self.python_name)
        return method


@dataclass(frozen=True, slots=True)
class Api:
    """A service of a proto file: its full name, the methods that are served, and its generated application."""

    name: str
    methods: tuple[Method, ...]
    application: "Callable[..., ASGI3Application]"


METHODS = tuple(
    Method(SERVICE_NAME, method.name, GetMessageClass(method.input_type), _ACTIONS[method.name])
    for method in _SERVICE.methods
)
STORAGE = Api(SERVICE_NAME, METHODS, StorageServiceASGIApplication)

_NAMES = {method.request_class.DESCRIPTOR.full_name: method.name for method in METHODS}


def name_of_call(request: Message) -> str | None:
    """Give the name of the method that a request is for."""
    return _NAMES.get(request.DESCRIPTOR.full_name)
