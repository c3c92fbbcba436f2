"""librados' admin socket: what `ceph daemon` asks a process, asked by the process itself.

https://docs.ceph.com/en/latest/rados/operations/monitoring/#using-the-admin-socket
"""

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import rados

__all__ = ["AdminSocket", "opened"]

_LENGTH = struct.Struct(">I")
_PATIENCE_SECONDS = 1.0
_NO_ANSWER = (OSError, ValueError, LookupError, struct.error)


class AdminSocket:
    """That of a connection, by a descriptor, so that it needs no name; None where librados could open none."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def open(self, path: Path) -> None:
        with suppress(OSError):  # librados said why not
            self._descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def objects_in_flight(self, prefix: str) -> list[int]:
        """Give the numbers of those of an image's objects that operations are under way on (``objecter_requests``).

        ``prefix`` is what the objects' names have before the number (``rbd_image_info_t.block_name_prefix``). Where
        nothing can be found out, there are none.
        """
        with suppress(*_NO_ANSWER):
            names = [operation["object_id"] for operation in self._ask("objecter_requests")["ops"]]
            return [int(name.removeprefix(f"{prefix}."), 16) for name in names if name.startswith(f"{prefix}.")]
        return []

    def options(self, prefix: str) -> list[str]:
        """Name the options that begin so (``config show``); none where that cannot be found out."""
        with suppress(*_NO_ANSWER):
            return [name for name in self._ask("config show") if name.startswith(prefix)]
        return []

    def set_by_monitors(self, prefix: str = "") -> dict[str, object] | None:
        """Give those of the options that begin so to which the monitors give a value (``config diff``), with that.

        None where it cannot be found out.
        """
        with suppress(*_NO_ANSWER):
            levels = self._ask("config diff")["diff"]
            return {
                name: values["mon"] for name, values in levels.items() if name.startswith(prefix) and "mon" in values
            }
        return None

    def dump_log(self) -> None:
        """Have librados log what it would have logged lately, had it been told to log more (``log dump``)."""
        with suppress(*_NO_ANSWER):
            self._ask("log dump")

    def _ask(self, command: str) -> Any:  # noqa: ANN401 - what JSON holds
        """Raises OSError where there is nobody to ask; ValueError, struct.error for no answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_SECONDS)
            connection.connect(f"/proc/self/fd/{self._descriptor}")
            connection.sendall(json.dumps({"prefix": command}).encode() + b"\0")
            with connection.makefile("rb") as answer:
                (length,) = _LENGTH.unpack(answer.read(_LENGTH.size))
                return json.loads(answer.read(length))


@contextmanager
def opened(connection: rados.Rados, place: Path | None, *, as_configured: bool = True) -> Iterator[AdminSocket]:
    """Have librados open one with a connection that is made inside: where its configuration says (``admin_socket``).

    Where that says nothing, or is not to be heeded, in ``place``, whose name is gone at once.
    """
    admin_socket = AdminSocket()
    configured = connection.conf_get("admin_socket") if as_configured else ""
    path = configured or str(place or "")
    connection.conf_set("admin_socket", path)
    try:
        yield admin_socket
        if path:
            admin_socket.open(Path(path))
    finally:
        if path and not configured:
            with suppress(OSError):
                Path(path).unlink()
