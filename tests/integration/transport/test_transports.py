"""What every transport has, over and above the replies and errors that the clients of ``support.clients`` see."""

import gzip
import re
import subprocess
import time

import grpc
import pytest
from google.protobuf import json_format
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image
from rbd_connect.devcluster import DevCluster
from support.clients import BUF, create, grpc_stubs, request
from support.images import NewImage
from support.server import Server
from support.tools import Tools, frozen, held_up
from support.waiting import wait_until
from support.wire import FRAMED, HTTP, TRANSPORTS, framed, let_down, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@every_transport
def test_success_and_its_request_id(server: Server, tools: Tools, new_image: NewImage, transport: str) -> None:
    image = new_image(written=1)
    answer = send(server, valid(transport, "test", image, "first"))
    assert answer.code is None
    listed = tools.snapshot(f"rbd/{image}", "first")
    used = tools.used_bytes(f"rbd/{image}", "first")
    assert reply(transport, answer.body) == Image.Snapshot(
        name="first", protected=False, quota_bytes=listed["size"], used_bytes=used
    )
    request_id = answer.headers["x-request-id"].decode()
    assert re.search(f"CreateImageSnapshot ok .* request {request_id} ", server.log.read_text())


def reply(transport: str, body: bytes) -> Image.Snapshot:
    if transport == "connect-json":
        return json_format.Parse(body, Image.Snapshot())
    return Image.Snapshot.FromString(body[5 : 5 + int.from_bytes(body[1:5], "big")] if transport in FRAMED else body)


@every_transport
def test_the_request_id_of_an_error_is_in_its_details_and_in_the_log(server: Server, transport: str) -> None:
    answer = send(server, valid(transport))
    request_id = answer.headers["x-request-id"].decode()
    (info,) = [detail for detail in answer.details if detail.DESCRIPTOR.name == "ErrorInfo"]
    assert info.metadata["request_id"] == request_id
    assert re.search(f"CreateImageSnapshot not_found .* request {request_id} ", server.log.read_text())


@every_transport
def test_a_message_of_nothing(server: Server, transport: str) -> None:
    empty = b"{}" if transport == "connect-json" else b""
    answer = send(server, valid(transport).with_message(empty))
    (bad_request,) = [detail for detail in answer.details if detail.DESCRIPTOR.name == "BadRequest"]
    fields = [violation.field for violation in bad_request.field_violations]
    assert fields == ["scope", "pool_name", "image_name", "snapshot_name"]


@every_transport
def test_a_message_as_large_as_it_may_be(server: Server, transport: str) -> None:
    message = CreateImageSnapshotRequest(scope="s", pool_name="p", image_name="i", snapshot_name="n")
    as_json = transport == "connect-json"
    room = 65_536 - len(json_format.MessageToJson(message)) if as_json else 65_536 - message.ByteSize() - 2
    message.scope = "s" * (room + 1)
    exact = json_format.MessageToJson(message).encode() if as_json else message.SerializeToString()
    assert len(exact) == 65_536
    assert send(server, valid(transport).with_message(exact)).reason == "INVALID_NAME"
    longer = exact.replace(b"ssss", b"sssss", 1) if as_json else exact + b"\x20\x01"
    assert send(server, valid(transport).with_message(longer)).reason == "MESSAGE_TOO_LARGE"


@pytest.mark.parametrize("transport", HTTP)
def test_a_reply_is_compressed_for_who_accepts_it(server: Server, new_image: NewImage, transport: str) -> None:
    is_framed = transport in FRAMED
    asking = valid(transport, "test", new_image(), "first").with_header(
        b"grpc-accept-encoding" if is_framed else b"accept-encoding", b"br, gzip"
    )
    answer = send(server, asking)
    assert answer.headers["grpc-encoding" if is_framed else "content-encoding"] == b"gzip"
    if is_framed:
        assert answer.body[0] == 1
        body = framed(gzip.decompress(answer.body[5 : 5 + int.from_bytes(answer.body[1:5], "big")]))
    else:
        body = gzip.decompress(answer.body)
    assert reply(transport, body).name == "first"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_grpcio_compresses(server: Server, new_image: NewImage, compression: grpc.Compression) -> None:
    message = json_format.ParseDict(request("rbd", new_image(), "first"), CreateImageSnapshotRequest())
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = grpc_stubs().StorageServiceStub(channel)
        assert stub.CreateImageSnapshot(message, compression=compression).name == "first"


@every_transport
def test_the_answer_comes_when_the_deadline_passes(
    cluster: DevCluster, server: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    image = new_image()
    assert create(server, request("rbd", image, "first")).reply
    with frozen(cluster.mon):
        started = time.monotonic()
        answer = send(server, valid(transport, "test", image, "late").with_timeout(300))
        assert 0.25 < time.monotonic() - started < 5
    assert answer.code == "deadline_exceeded"
    assert answer.reason == "OUTCOME_UNKNOWN"
    wait_until(lambda: "late" in {snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")})
    assert create(server, request("rbd", image, "late")).reason == "SNAPSHOT_EXISTS"


@every_transport
def test_a_caller_that_goes_away_is_not_waited_for(
    server: Server, tools: Tools, new_image: NewImage, transport: str
) -> None:
    """What was begun in the worker is ended there; the log says that nobody heard of it."""
    image = new_image()
    assert create(server, request("rbd", image, "first")).reply
    with held_up(tools, image) as is_held:
        with let_down(server, valid(transport, "test", image, "unheard")):
            wait_until(lambda: is_held(image))
        said = re.compile(f'CreateImageSnapshot canceled .*"image_name": "{image}"')
        wait_until(lambda: said.search(server.log.read_text()))
    wait_until(lambda: "unheard" in {snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")})


def test_a_grpc_client_may_ask_over_and_over_whether_its_connection_lives(
    server: Server, cluster: DevCluster, new_image: NewImage
) -> None:
    """A call that takes long is as quiet as a connection that is dead."""
    options = [("grpc.keepalive_time_ms", 1000), ("grpc.http2.max_pings_without_data", 0)]
    with grpc.insecure_channel(server.grpc_address, options) as channel:
        stub = grpc_stubs().StorageServiceStub(channel)
        body = CreateImageSnapshotRequest(scope="test", pool_name="rbd", image_name=new_image(), snapshot_name="first")
        with frozen(cluster.mon):
            call = stub.CreateImageSnapshot.future(body, timeout=60)
            with pytest.raises(grpc.FutureTimeoutError):
                call.result(timeout=6)
        assert call.result().name == "first"


def test_reflection_tells_all_there_is(server: Server) -> None:
    """Clients ask by v1 first, and by v1alpha where there is none."""
    url = f"http://{server.grpc_address}"
    listed = buf_curl_lists(url, "--list-services")
    assert listed == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "otterscale.storage.v1.StorageService",
    ]
    assert "otterscale.storage.v1.StorageService/CreateImageSnapshot" in buf_curl_lists(url, "--list-methods")
    with grpc.insecure_channel(server.grpc_address) as channel:
        old = ProtoReflectionDescriptorDatabase(channel)
        assert set(old.get_services()) == set(listed)
        file = old.FindFileContainingSymbol("otterscale.storage.v1.StorageService")
        assert [service.name for service in file.service] == ["StorageService"]


def buf_curl_lists(url: str, what: str) -> list[str]:
    words = [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", what, url]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
