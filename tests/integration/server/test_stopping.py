"""How a server ends: what it says, what it finishes, and when it does not wait."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import rados
import rbd
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rbd_connect.devcluster import DevCluster
from support.clients import CLIENTS, create, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, held_up, write_scope
from support.waiting import wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "otterscale.storage.v1.StorageService"
EVERY_TRANSPORT = ("connect-json", "connect-binary", "grpc-web", "grpcio")


def is_open(ioctx: rados.Ioctx, image: str) -> bool:
    with rbd.Image(ioctx, image, read_only=True) as opened:
        watchers = list(opened.watchers_list())
    return bool(watchers)


def refuses(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def health(channel: grpc.Channel) -> Any:  # noqa: ANN401 - its types do not know its methods
    return health_pb2_grpc.HealthStub(channel)


@contextmanager
def calls_under_way(server: Server, tools: Tools, new_image: NewImage) -> Iterator[Callable[[], dict[str, bool]]]:
    """Make a call on each transport, and keep it from ending; give what says whether they succeeded."""
    images = {name: new_image() for name in EVERY_TRANSPORT}
    assert create(server, request("rbd", images["grpcio"], "before")).reply
    with ThreadPoolExecutor() as pool, held_up(tools, *images.values()) as is_held:
        calls = {
            name: pool.submit(CLIENTS[name], server, request("rbd", image, "during")) for name, image in images.items()
        }
        for image in images.values():
            wait_until(partial(is_held, image))
        yield lambda: {name: call.result().reply is not None for name, call in calls.items()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_calls_in_flight_are_finished(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path, number: int
) -> None:
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        with calls_under_way(server, tools, new_image) as succeeded:
            server.process.send_signal(number)
            for address in (server.address, server.grpc_address):
                wait_until(partial(refuses, address))
        assert all(succeeded().values()), succeeded()
        assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()


def test_health_is_told_to_who_asks_and_to_who_watches(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    """A watcher hears that the server stops, and is not waited for."""
    heard: dict[str, list[int]] = {"": [], SERVICE: []}

    def watch(channel: grpc.Channel, service: str) -> None:
        stub = health(channel)
        try:
            for response in stub.Watch(health_pb2.HealthCheckRequest(service=service)):
                heard[service].append(response.status)
        except grpc.RpcError:
            pass

    with (
        run_server(tmp_path, write_scope("test", cluster)) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        watchers = [threading.Thread(target=watch, args=(channel, service)) for service in heard]
        for watcher in watchers:
            watcher.start()
        wait_until(lambda: heard == {"": [SERVING], SERVICE: [SERVING]})
        stub = health(channel)
        for service in heard:
            assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
        with pytest.raises(grpc.RpcError) as unknown:
            stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        with calls_under_way(server, tools, new_image) as succeeded:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: heard == {"": [SERVING, NOT_SERVING], SERVICE: [SERVING, NOT_SERVING]})
        assert all(succeeded().values())
        assert server.process.wait(30) == 0
        for watcher in watchers:
            watcher.join(30)


def test_calls_that_take_too_long_are_left(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    with (
        run_server(tmp_path, write_scope("test", cluster), "--listen-drain-timeout=1", ends_with=1) as server,
        calls_under_way(server, tools, new_image) as succeeded,
    ):
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 1
        assert not any(succeeded().values())
    assert "4 calls did not end in 1 s and are left" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)],
)
def test_a_second_signal_ends_it_at_once(
    cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path, first: int, second: int
) -> None:
    with (
        run_server(tmp_path, write_scope("test", cluster), ends_with=128 + second) as server,
        calls_under_way(server, tools, new_image),
    ):
        server.process.send_signal(first)
        wait_until(partial(refuses, server.address))
        server.process.send_signal(second)
        assert server.process.wait(10) == 128 + second
