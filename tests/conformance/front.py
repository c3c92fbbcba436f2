"""What stands in place of the project's front: everybody may call, and what is called is the suite's service."""

from collections.abc import Mapping

from rbd_connect.auth.grants import Granted
from rbd_connect.rpc.caller import Caller, calling
from rbd_connect.rpc.methods import Api, Method
from rbd_connect.rpc.pipeline import Pipeline

from .gen.service_connect import ConformanceServiceASGIApplication
from .gen.service_pb2 import DESCRIPTOR, UnaryRequest
from .service import Service

__all__ = ["ConformanceFront"]

_NAME: str = DESCRIPTOR.services_by_name["ConformanceService"].full_name

# Of its methods the one that is unary, and called by POST. The suite wants that one of them is not implemented.
_CONFORMANCE = Api(_NAME, (Method(_NAME, "Unary", UnaryRequest, "list"),), ConformanceServiceASGIApplication)


class ConformanceFront(Pipeline):
    def __init__(self) -> None:
        """Have neither a policy nor an audit."""

    @property
    def services(self) -> Mapping[Api, object]:
        return {_CONFORMANCE: Service()}

    async def admit(self, _method: Method, caller: Caller) -> None:
        calling(caller)

    async def granted(self, _caller: Caller, _seconds: float) -> Granted | None:
        return None
