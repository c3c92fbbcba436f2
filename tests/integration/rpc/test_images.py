"""CreateImage, UpdateImage: the reply is what `rbd info` and `rbd du` print; every refusal; deadlines and retries."""

from collections.abc import Mapping
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
import rados
import rbd

from rbd_connect.devcluster import DevCluster
from support.clients import CALLS, Call, Outcome, create, image_request, in_time, request
from support.images import MIB, NewImage
from support.printed import IMAGE_FEATURES as FEATURES
from support.printed import printed_image
from support.server import Server, run_server
from support.tools import Tools, frozen, write_scope

every_call = pytest.mark.parametrize("call", [pytest.param(call, id=name) for name, call in CALLS.items()])

numbers = count(1)


@pytest.fixture
def name() -> str:
    """A name that no image has."""
    return f"made-{next(numbers)}"


def told(outcome: Outcome) -> dict[str, Any]:
    """The reply to a call that succeeded."""
    assert outcome.reply is not None, outcome
    return outcome.reply


@every_call
def test_by_default_an_image_is_as_ceph_makes_it(call: Call, server: Server, tools: Tools, name: str) -> None:
    reply = call(server, image_request(name, quotaBytes=10 * MIB), "CreateImage").reply
    assert reply == printed_image(tools, "rbd", name)
    tools.rbd("create", "--size", "10M", f"rbd/by-rbd-{name}")
    info, by_rbd = (tools.rbd_json("info", f"rbd/{image}") for image in (name, f"by-rbd-{name}"))
    assert [info[key] for key in ("features", "order", "size", "flags")] == [
        by_rbd[key] for key in ("features", "order", "size", "flags")
    ]


@every_call
def test_everything_can_be_chosen(call: Call, server: Server, tools: Tools, name: str) -> None:
    tools.rbd("namespace", "create", f"rbd/of-{name}")
    body = image_request(
        name,
        f"rbd/of-{name}",
        objectSizeBytes=MIB,
        stripeUnitBytes=65536,
        stripeCount=4,
        quotaBytes=10 * MIB + 1,
        layering=True,
        exclusiveLock=True,
    )
    reply = told(call(server, body, "CreateImage"))
    assert reply == printed_image(tools, f"rbd/of-{name}", name)
    assert (reply["stripeCount"], reply["stripeUnitBytes"], reply["objectSizeBytes"]) == ("4", "65536", str(MIB))
    assert (reply["layering"], reply["exclusiveLock"], reply["objectMap"]) == (True, True, False)


def test_all_features_false_is_none_of_them(server: Server, tools: Tools, name: str) -> None:
    body = image_request(name, quotaBytes=0) | dict.fromkeys(FEATURES, False)
    reply = told(CALLS["connect"](server, body, "CreateImage"))
    assert reply == printed_image(tools, "rbd", name)
    assert not any(reply[feature] for feature in FEATURES)
    assert reply["quotaBytes"] == "0"


@every_call
def test_an_existing_image_comes_with_the_error(call: Call, server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=5 * MIB)
    tools.rbd("snap", "create", "--no-progress", f"rbd/{image}@first")
    tools.rbd("snap", "protect", f"rbd/{image}@first")
    outcome = call(server, image_request(image, quotaBytes=MIB), "CreateImage")
    assert (outcome.code, outcome.reason) == ("already_exists", "IMAGE_EXISTS")
    assert outcome.details["Image"] == printed_image(tools, "rbd", image)


def test_an_existing_image_with_many_snapshots_comes_without_them(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    """The trailers of gRPC have no room for all."""
    image = new_image()
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
        for number in range(30):
            opened.create_snap(f"{number:0200}")
    for call in CALLS.values():
        outcome = call(server, image_request(image, quotaBytes=MIB), "CreateImage")
        assert outcome.reason == "IMAGE_EXISTS"
        assert "snapshots" not in outcome.details["Image"]
        assert outcome.details["Image"]["quotaBytes"] == str(16 * MIB)


@pytest.mark.parametrize(
    ("layout", "fields"),
    [
        ({}, ["quota_bytes"]),
        ({"quotaBytes": 1 << 63}, ["quota_bytes"]),
        ({"quotaBytes": (256_000_000 << 22) + 1}, ["quota_bytes"]),
        ({"quotaBytes": MIB, "objectSizeBytes": 2048}, ["object_size_bytes"]),
        ({"quotaBytes": MIB, "objectSizeBytes": 3 * MIB}, ["object_size_bytes"]),
        ({"quotaBytes": MIB, "objectSizeBytes": 64 * MIB}, ["object_size_bytes"]),
        ({"quotaBytes": MIB, "stripeUnitBytes": 4096}, ["stripe_count"]),
        ({"quotaBytes": MIB, "stripeCount": 4}, ["stripe_unit_bytes"]),
        ({"quotaBytes": MIB, "stripeCount": 4, "stripeUnitBytes": 256}, ["stripe_unit_bytes"]),
        ({"quotaBytes": MIB, "stripeCount": 4, "stripeUnitBytes": 3072}, ["stripe_unit_bytes"]),
        ({"quotaBytes": MIB, "stripeCount": 1 << 32, "stripeUnitBytes": 4096}, ["stripe_count"]),
        ({"quotaBytes": MIB, "fastDiff": True, "exclusiveLock": True}, ["fast_diff"]),
        ({"quotaBytes": MIB, "fastDiff": True, "objectMap": True}, ["object_map"]),
        ({"quotaBytes": MIB, "fastDiff": True, "objectSizeBytes": 1}, ["object_size_bytes", "fast_diff"]),
    ],
)
def test_what_librbd_would_refuse_is_told_by_field(
    server: Server, tools: Tools, name: str, layout: dict[str, Any], fields: list[str]
) -> None:
    outcome = CALLS["grpc"](server, image_request(name) | layout, "CreateImage")
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_LAYOUT")
    assert [violation["field"] for violation in outcome.details["BadRequest"]["fieldViolations"]] == fields
    assert name not in tools.rbd_json("ls", "rbd")


def test_the_rules_are_librbds_own(server: Server, tools: Tools) -> None:
    """Whatever the layout, librbd and the server agree on whether it can be; but for what librbd does silently."""
    layouts = [
        {"objectSizeBytes": size, "stripeUnitBytes": unit, "stripeCount": stripes}
        for size in (0, 2048, 4096, MIB, 3 * MIB, 32 * MIB, 64 * MIB)
        for unit, stripes in ((0, 0), (0, 2), (512, 0), (256, 2), (512, 2), (4096, 1), (3072, 2), (4 * MIB, 2))
    ]
    for number, layout in enumerate(layouts):
        image = f"rules-{number}"
        with tools.ioctx() as ioctx:
            takes = librbd_takes(ioctx, image, layout)
        outcome = CALLS["connect"](server, image_request(f"{image}-ours", quotaBytes=MIB) | layout, "CreateImage")
        assert (outcome.reply is not None) == takes, (layout, outcome)


def librbd_takes(ioctx: rados.Ioctx, image: str, layout: Mapping[str, int]) -> bool:
    size = layout["objectSizeBytes"]
    if size.bit_count() > 1:
        return False  # librbd wants it as a power of two
    try:
        rbd.RBD().create(
            ioctx,
            image,
            MIB,
            order=size.bit_length() - 1 if size else None,
            stripe_unit=layout["stripeUnitBytes"],
            stripe_count=layout["stripeCount"],
        )
    except (rbd.InvalidArgument, rbd.ArgumentOutOfRange):
        return False
    return True


def test_features_are_taken_as_librbd_takes_them(server: Server, tools: Tools) -> None:
    bits = {
        "layering": rbd.RBD_FEATURE_LAYERING,
        "exclusiveLock": rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
        "objectMap": rbd.RBD_FEATURE_OBJECT_MAP,
        "fastDiff": rbd.RBD_FEATURE_FAST_DIFF,
        "deepFlatten": rbd.RBD_FEATURE_DEEP_FLATTEN,
    }
    for number, values in enumerate(product((False, True), repeat=len(FEATURES))):
        features = dict(zip(FEATURES, values, strict=True))
        asked = sum(bits[feature] for feature, value in features.items() if value)
        with tools.ioctx() as ioctx:
            try:
                rbd.RBD().create(ioctx, f"features-{number}", MIB, features=asked)
            except rbd.InvalidArgument:
                got = None
            else:
                with rbd.Image(ioctx, f"features-{number}", read_only=True) as opened:
                    got = opened.features()
        body = image_request(f"features-{number}-ours", quotaBytes=MIB) | features
        outcome = CALLS["connect"](server, body, "CreateImage")
        if got is None or (features["fastDiff"] and not got & bits["fastDiff"]):  # which librbd forgets
            assert outcome.reason == "INVALID_LAYOUT"
        else:
            assert outcome.reply is not None
            assert sum(bit for feature, bit in bits.items() if outcome.reply[feature]) == got


@every_call
@pytest.mark.parametrize("rpc", ["CreateImage", "UpdateImage", "DeleteImage"])
def test_what_is_missing_is_told_apart(call: Call, rpc: str, server: Server) -> None:
    size = {} if rpc == "DeleteImage" else {"quotaBytes": MIB}
    for body, kind, name in (
        (image_request("i", scope="nowhere"), "scope", "nowhere"),
        (image_request("i", "nowhere"), "pool", "nowhere"),
        (image_request("i", "rbd/nowhere"), "namespace", "nowhere"),
        *([] if rpc == "CreateImage" else [(image_request("nowhere"), "image", "nowhere")]),
    ):
        outcome = call(server, body | size, rpc)
        assert (outcome.code, outcome.reason) == ("not_found", f"{kind.upper()}_NOT_FOUND")
        resource = outcome.details["ResourceInfo"]
        assert (resource["resourceType"], resource["resourceName"]) == (kind, name)


@every_call
@pytest.mark.parametrize("rpc", ["CreateImage", "UpdateImage", "DeleteImage"])
def test_names_that_are_not_valid_are_named(call: Call, rpc: str, server: Server) -> None:
    outcome = call(server, {"poolName": "a/b/c", "imageName": ".i" if rpc == "CreateImage" else ""}, rpc)
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_NAME")
    fields = [violation["field"] for violation in outcome.details["BadRequest"]["fieldViolations"]]
    assert fields == ["scope", "pool_name", "image_name"]


def test_a_pool_that_is_not_for_images_gets_none(server: Server, tools: Tools, cluster: DevCluster, name: str) -> None:
    tools.ceph("osd", "pool", "create", "for-objects", "1")
    tools.ceph("osd", "pool", "create", "erasure-coded", "1", "1", "erasure")
    tools.ceph("osd", "pool", "application", "enable", "erasure-coded", "rbd")
    for pool in ("for-objects", "erasure-coded"):
        outcome = CALLS["connect"](server, image_request(name, pool, quotaBytes=MIB), "CreateImage")
        assert (outcome.code, outcome.reason) == ("failed_precondition", "POOL_NOT_FOR_IMAGES")
    cluster.delete_pool("erasure-coded")  # one OSD is too few for it
    tools.ceph("osd", "pool", "application", "enable", "for-objects", "rbd")
    assert CALLS["connect"](server, image_request(name, "for-objects", quotaBytes=MIB), "CreateImage").reply


@every_call
def test_an_image_grows_and_shrinks(call: Call, server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image(written=10 * MIB)
    assert create(server, request("rbd", image, "first")).reply
    with tools.ioctx() as ioctx, rbd.Image(ioctx, image) as opened:
        opened.write(b"y", 9 * MIB)
    for size in (32 * MIB, 32 * MIB, 6 * MIB + 1, 1):
        reply = told(call(server, image_request(image, quotaBytes=size), "UpdateImage"))
        assert reply == printed_image(tools, "rbd", image)
        assert reply["quotaBytes"] == str(size)


def test_what_is_lost_by_shrinking_is_in_the_log(cluster: DevCluster, new_image: NewImage, tmp_path: Path) -> None:
    image = new_image()
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        assert CALLS["connect"](server, image_request(image, quotaBytes=MIB), "UpdateImage").reply
        assert f"rbd/{image} shrinks from {16 * MIB} to {MIB} bytes" in server.log.read_text()


@pytest.mark.parametrize("size", [None, 1 << 63, (256_000_000 << 22) + 1])
def test_a_size_that_cannot_be_is_refused(server: Server, tools: Tools, new_image: NewImage, size: int | None) -> None:
    image = new_image()
    body = image_request(image) if size is None else image_request(image, quotaBytes=size)
    outcome = CALLS["connect"](server, body, "UpdateImage")
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_LAYOUT")
    assert [violation["field"] for violation in outcome.details["BadRequest"]["fieldViolations"]] == ["quota_bytes"]
    assert tools.rbd_json("info", f"rbd/{image}")["size"] == 16 * MIB


@pytest.mark.parametrize("rpc", ["CreateImage", "UpdateImage", "DeleteImage"])
def test_a_deadline_is_kept_while_ceph_is_at_it(
    rpc: str, cluster: DevCluster, tools: Tools, new_image: NewImage, name: str, tmp_path: Path
) -> None:
    """What was begun goes on; afterwards a retry succeeds, or tells that it was done."""
    call = CALLS["connect"]
    image = name if rpc == "CreateImage" else new_image()
    body = image_request(image) if rpc == "DeleteImage" else image_request(image, quotaBytes=8 * MIB)
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        assert call(server, image_request(f"before-{name}", quotaBytes=MIB), "CreateImage").reply
        with frozen(cluster.osd):
            outcome = in_time(server, body, rpc, 1.0)
        assert (outcome.code, outcome.reason) == ("deadline_exceeded", "OUTCOME_UNKNOWN")
        retried = call(server, body, rpc)
    assert retried.reply is not None or retried.reason in {"IMAGE_EXISTS", "IMAGE_NOT_FOUND"}
    assert (image in tools.rbd_json("ls", "rbd")) == (rpc != "DeleteImage")
    if rpc == "UpdateImage":
        assert tools.rbd_json("info", f"rbd/{image}")["size"] == 8 * MIB
