"""connect-node in Node.js, and connect-web in a Chromium, as others' programs and pages use them."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import Outcome, request
from support.images import MIB, NewImage
from support.javascript import NODE_TRANSPORTS, WEB_TRANSPORTS, Page, node, open_page
from support.server import Server, run_server
from support.tools import Tools, write_scope

Call = Callable[[Mapping[str, str]], Outcome]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with open_page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture(scope="module")
def server_for_the_page(cluster: DevCluster, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets the page's origin call."""
    folder = tmp_path_factory.mktemp("server")
    with run_server(folder, write_scope("test", cluster), "--cors-origins", page.origin) as server:
        yield server


@pytest.fixture(
    params=[f"node-{transport}" for transport in NODE_TRANSPORTS] + [f"web-{transport}" for transport in WEB_TRANSPORTS]
)
def call(request: pytest.FixtureRequest) -> Call:
    """Each client; a browser is started where one is needed."""
    runtime, _, transport = request.param.partition("-")
    if runtime == "node":
        return partial(node, transport, request.getfixturevalue("server"))
    page: Page = request.getfixturevalue("page")
    return partial(page.call, transport, request.getfixturevalue("server_for_the_page"))


def test_the_reply_says_what_ceph_says(call: Call, tools: Tools, new_image: NewImage) -> None:
    image = new_image(10 * MIB, written=1)
    outcome = call(request("rbd", image, "first"))
    (snapshot,) = tools.snapshots(f"rbd/{image}")
    assert outcome.reply == {
        "name": snapshot["name"],
        "protected": snapshot["protected"] == "true",
        "quotaBytes": str(snapshot["size"]),
        "usedBytes": str(tools.used_bytes(f"rbd/{image}", "first")),
    }
    assert (snapshot["name"], snapshot["size"]) == ("first", 10 * MIB)


def test_a_retry_gives_the_existing_snapshot(call: Call, tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=1)
    body = request("rbd", image, "first")
    reply = call(body).reply
    outcome = call(body)
    assert (outcome.code, outcome.reason) == ("already_exists", "SNAPSHOT_EXISTS")
    assert reply is not None
    assert outcome.details["Snapshot"] == reply
    assert len(tools.snapshots(f"rbd/{image}")) == 1


def test_a_missing_image_is_told_with_its_details(call: Call) -> None:
    outcome = call(request("rbd", "雪 %", "s"))
    assert (outcome.code, outcome.reason) == ("not_found", "IMAGE_NOT_FOUND")
    assert outcome.message == "There is no image '雪 %' in pool 'rbd'."
    assert (outcome.metadata["image"], outcome.metadata["request_id"]) == ("雪 %", outcome.request_id)
    assert outcome.details["ResourceInfo"] == {
        "resourceType": "image",
        "resourceName": "雪 %",
        "description": outcome.message,
    }


def test_a_name_that_is_not_valid_names_its_field(call: Call) -> None:
    outcome = call(request("rbd", "image", "a@b"))
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_NAME")
    (violation,) = outcome.details["BadRequest"]["fieldViolations"]
    assert (violation["field"], violation["reason"]) == ("snapshot_name", "FORBIDDEN_CHARACTER")


def test_what_is_refused_before_it_is_read_has_its_details_too(call: Call) -> None:
    """To gRPC-Web it is told in headers, which a page reads only where the server exposes them."""
    outcome = call(request("rbd", "image", "s" * 100_000))
    assert (outcome.code, outcome.reason) == ("resource_exhausted", "MESSAGE_TOO_LARGE")
    assert outcome.metadata["request_id"] == outcome.request_id


@pytest.mark.parametrize("flags", [(), ("--cors-origins", "https://console.example.com")], ids=["none", "another"])
def test_a_page_of_an_origin_that_is_not_configured_does_nothing(
    flags: tuple[str, ...], cluster: DevCluster, page: Page, tools: Tools, new_image: NewImage, tmp_path: Path
) -> None:
    """The preflight is refused; so the browser sends no call."""
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
        for transport in WEB_TRANSPORTS:
            outcome = page.call(transport, server, request("rbd", image, "first"))
            assert (outcome.reply, outcome.code, outcome.message) == (None, "unknown", "Failed to fetch")
    assert "rbd_connect.rpc.pipeline: CreateImageSnapshot" not in server.log.read_text()
    assert tools.snapshots(f"rbd/{image}") == []
