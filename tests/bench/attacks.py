"""Attacks, and what they cost a client that calls beside them, and the server: ``make bench-attacks``."""

import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc
import trustme

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest
from support.attacks import ATTACKS, Calls, attacked, call, calls_beside
from support.clients import grpc_stubs
from support.cluster import booted
from support.server import Held, Server, run_server
from support.tools import write_scope

_SECONDS = 8.0
_NEEDS_TLS = {"half-a-handshake-8000", "hello-alone-8000", "silent-8000"}
_MIB = 1 << 20
# What the tests do in place of the same with more connections.
_SMALL = {"half-a-handshake-1000", "hello-alone-300"}


def grpc_call(address: str) -> bool:
    """Make a call by gRPC, on a connection of its own. It comes as far as the scope, which there is not."""
    message = CreateImageSnapshotRequest(scope="nowhere", pool_name="p", image_name="i", snapshot_name="s")
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            grpc_stubs().StorageServiceStub(channel).CreateImageSnapshot(message, timeout=30)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.NOT_FOUND)
    return False


def measure(server: Server, name: str, wrap: Callable[..., object]) -> None:
    """Attack, and print a line."""
    by_grpc = ATTACKS[name][0] == "grpc"
    good = partial(grpc_call, server.grpc_address) if by_grpc else partial(call, server.address, wrap)  # type: ignore[arg-type]
    good()
    alone = calls_beside(good, 2)
    log = server.log.stat().st_size
    with attacked(server, name):
        time.sleep(3)
        beside = calls_beside(good, _SECONDS)
        held = Held.by(server)
    grown = server.log.stat().st_size - log
    _print(name, alone, beside, held, grown)


def _print(name: str, alone: Calls, beside: Calls, held: Held, grown: int) -> None:
    print(  # noqa: T201 - a measurement
        f"{name:24} {len(beside.seconds):6} {beside.failed:6} {alone.median * 1000:8.1f} {beside.median * 1000:8.1f} "
        f"{beside.longest * 1000:8.0f} {held.peak_bytes / _MIB:8.0f} {held.descriptors:6} {grown / _MIB:8.2f}",
        flush=True,
    )


def main(names: list[str]) -> None:
    print("attack                    calls failed alone ms    beside  longest peak MiB    fds  log MiB")  # noqa: T201 - as above
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with tempfile.TemporaryDirectory() as folder, booted(Path(folder) / "ceph") as cluster:
        place = Path(folder)
        issued = authority.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(place / "server.pem")
        (place / "server.key").touch(0o600)
        issued.private_key_pem.write_to_path(place / "server.key")
        tls = (f"--tls-certificate={place}/server.pem", f"--tls-key={place}/server.key")
        for name in names:
            with_tls = name in _NEEDS_TLS
            with run_server(place, write_scope("test", cluster), *(tls if with_tls else ())) as server:
                wrap = partial(context.wrap_socket, server_hostname="localhost") if with_tls else (lambda same: same)
                measure(server, name, wrap)


if __name__ == "__main__":
    main(sys.argv[1:] or [name for name in ATTACKS if name not in _SMALL])
