"""`python -m conformance`: serve what the suite asks for on standard input, until it sends SIGTERM."""

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from .gen.server_compat_pb2 import ServerCompatRequest, ServerCompatResponse
from .listeners import listening

_LENGTH_BYTES = 4


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="conformance-") as folder,
        # The server adds google.rpc.ErrorInfo to its own errors. The protocols allow that, but the suite counts the
        # details of an error, and knows of none here.
        patch("rbd_connect.rpc.deadline.error_details", return_value=()),
    ):
        asyncio.run(_serve(_read(), Path(folder)))


def _read() -> ServerCompatRequest:
    length = int.from_bytes(sys.stdin.buffer.read(_LENGTH_BYTES))
    return ServerCompatRequest.FromString(sys.stdin.buffer.read(length))


async def _serve(request: ServerCompatRequest, folder: Path) -> None:
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    async with listening(request, folder) as address:
        response = ServerCompatResponse(
            host=address.host, port=address.port, pem_cert=request.server_creds.cert if request.use_tls else b""
        )
        message = response.SerializeToString()
        sys.stdout.buffer.write(len(message).to_bytes(_LENGTH_BYTES) + message)
        sys.stdout.buffer.flush()
        await told_to_stop.wait()


main()
