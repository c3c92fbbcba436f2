"""What is granted, on every method and transport: what is not looks as if it were not there, and lists lack it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.protocol import ProtocolType

from otterscale.storage.v1.storage_pb2 import DESCRIPTOR
from rbd_connect.config.access import ACTIONS
from rbd_connect.devcluster import DevCluster
from rbd_connect.rpc.methods import METHODS
from support.access import Tokens, bearer, grant
from support.clients import CALLS, Call, Outcome, generated, image_request, request
from support.images import MIB, NewImage
from support.server import Server, run_server
from support.tools import Tools, write_scope

EVERY: dict[str, Call] = {
    **CALLS,
    "grpc-web": partial(generated, ProtocolType.GRPC_WEB, google_protobuf_binary_codec()),
}
every_transport = pytest.mark.parametrize("call", EVERY.values(), ids=EVERY)
every_method = pytest.mark.parametrize(
    "rpc", [method.name for method in DESCRIPTOR.services_by_name["StorageService"].methods]
)


@dataclass(frozen=True)
class Callers:
    """Tokens by what is granted: everything, some of it, nothing."""

    all: str
    some: str
    nothing: str


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def callers(tokens: Tokens) -> Callers:
    return Callers(tokens.new("all"), tokens.new("some"), tokens.new("nothing"))


@pytest.fixture(scope="module")
def server(
    cluster: DevCluster, tokens: Tokens, callers: Callers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with two scopes, of which ``some`` may see the images of one that begin with mine."""
    settings = (
        tokens.setting
        + write_scope("test", cluster)
        + write_scope("secret", cluster)
        + grant("all", ["*"], pools="*", namespaces="*", scopes="*")
        + grant("some", ["list", "create", "image.create", "unprotect"], "mine-*", pools="ours")
        + grant("some", ["delete"], "mine-*-too", pools="ours")
    )
    assert callers
    with run_server(tmp_path_factory.mktemp("server"), settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module", autouse=True)
def images(tools: Tools, cluster: DevCluster) -> None:
    """Images that may be seen, and that may not, in the places that there are."""
    for pool in ("ours", "hidden"):
        cluster.create_pool(pool)
    tools.rbd("namespace", "create", "ours/team")
    for place in ("ours/mine-1", "ours/mine-2", "ours/theirs", "hidden/mine-3", "ours/team/mine-4"):
        tools.rbd("create", "--size", "1M", place)
        tools.rbd("snap", "create", "--no-progress", f"{place}@first")


def body(rpc: str, *, scope: str = "test", pool: str = "ours", image: str = "mine-1") -> dict[str, Any]:
    """Give a request of a method, which would do something if it were let."""
    if rpc.startswith("List"):
        return {"scope": scope}
    if rpc.endswith("Snapshot"):
        return request(pool, image, "first", scope)
    return image_request(image, pool, scope=scope, **({} if rpc == "DeleteImage" else {"quotaBytes": MIB}))


def there(tools: Tools) -> object:
    """All that ``rbd`` prints of the pools that are called here."""
    return [tools.rbd("ls", "--long", "--format", "json", place) for place in ("ours", "hidden", "ours/team")]


class TestEveryMethod:
    @every_method
    @every_transport
    def test_is_nobodys_without_a_credential(self, server: Server, tools: Tools, call: Call, rpc: str) -> None:
        before = there(tools)
        outcome = call(server, body(rpc), rpc)
        assert (outcome.code, outcome.reason) == ("unauthenticated", "UNAUTHENTICATED")
        assert there(tools) == before

    @every_method
    @every_transport
    def test_is_nobodys_to_whom_nothing_is_granted(
        self, server: Server, tools: Tools, callers: Callers, call: Call, rpc: str
    ) -> None:
        before = there(tools)
        outcome = call(server, body(rpc), rpc, bearer(callers.nothing))
        assert (outcome.code, outcome.reason) == ("not_found", "SCOPE_NOT_FOUND")
        assert there(tools) == before

    def test_has_an_action(self) -> None:
        assert {method.action for method in METHODS} == set(ACTIONS)
        assert len({method.action for method in METHODS if method.changes}) == len(METHODS) - 2


OF_IMAGES = [method.name for method in METHODS if method.changes]


def told(outcome: Outcome, *names: str) -> object:
    """What was told, with the names that were asked for left out."""
    text = f"{outcome.code} {outcome.message} {outcome.details}"
    for name in (*names, outcome.metadata["request_id"]):
        text = text.replace(name, "NAME")
    return text


class TestWhatMayNotBeSeen:
    """It is told as what does not exist: nobody finds out by it what there is."""

    @pytest.mark.parametrize("rpc", OF_IMAGES)
    @every_transport
    def test_is_no_scope_and_no_pool_and_no_namespace(
        self, server: Server, callers: Callers, call: Call, rpc: str
    ) -> None:
        def asked(**place: str) -> Outcome:
            return call(server, body(rpc, **place), rpc, bearer(callers.some))

        assert told(asked(scope="secret"), "secret") == told(asked(scope="no-such"), "no-such")
        assert told(asked(pool="hidden"), "hidden") == told(asked(pool="no-such"), "no-such")
        assert told(asked(pool="ours/team"), "team") == told(asked(pool="ours/no-such"), "no-such")
        assert asked(scope="secret").reason == "SCOPE_NOT_FOUND"
        assert asked(pool="hidden").reason == "POOL_NOT_FOUND"
        assert asked(pool="ours/team").reason == "NAMESPACE_NOT_FOUND"

    @pytest.mark.parametrize("rpc", [rpc for rpc in OF_IMAGES if rpc != "CreateImage"])
    @every_transport
    def test_is_no_image(self, server: Server, callers: Callers, call: Call, rpc: str) -> None:
        def asked(by: str, image: str) -> object:
            return told(call(server, body(rpc, image=image), rpc, bearer(by)), image)

        # To whom everything is granted, Ceph itself says so.
        assert asked(callers.some, "theirs") == asked(callers.some, "no-such") == asked(callers.all, "no-such")

    @every_transport
    def test_is_told_as_ceph_says_it(self, server: Server, callers: Callers, call: Call) -> None:
        for place in ({"scope": "no-such"}, {"pool": "no-such"}, {"pool": "ours/no-such"}):
            asked = body("DeleteImage", **place)
            some, everything = (call(server, asked, "DeleteImage", bearer(by)) for by in (callers.some, callers.all))
            assert told(some) == told(everything)

    @every_transport
    def test_cannot_be_made_either(self, server: Server, callers: Callers, call: Call) -> None:
        for image in ("theirs", "no-such"):
            outcome = call(server, body("CreateImage", image=image), "CreateImage", bearer(callers.some))
            assert (outcome.code, outcome.reason) == ("permission_denied", "NOT_GRANTED")

    @every_transport
    def test_is_on_no_list(self, server: Server, callers: Callers, call: Call) -> None:
        def images(by: str) -> list[tuple[str, str]]:
            outcome = call(server, {"scope": "test"}, "ListImages", bearer(by))
            assert outcome.reply is not None
            return [(image["poolName"], image["name"]) for image in outcome.reply["images"]]

        def pools(by: str) -> list[str]:
            outcome = call(server, {"scope": "test"}, "ListPools", bearer(by))
            assert outcome.reply is not None
            return [pool["name"] for pool in outcome.reply["pools"]]

        assert images(callers.some) == [("ours", "mine-1"), ("ours", "mine-2")]
        assert {("hidden", "mine-3"), ("ours/team", "mine-4"), ("ours", "theirs")} <= set(images(callers.all))
        assert pools(callers.some) == ["ours"]
        assert {"ours", "hidden"} <= set(pools(callers.all))

    @every_transport
    def test_is_no_clone(self, server: Server, callers: Callers, tools: Tools, call: Call) -> None:
        """A clone keeps a snapshot protected, wherever it is."""
        parent = f"mine-parent-{call.args[0].name if isinstance(call, partial) and call.args else 'grpc'}".lower()
        tools.rbd("create", "--size", "1M", f"ours/{parent}")
        tools.rbd("snap", "create", "--no-progress", f"ours/{parent}@first")
        tools.rbd("snap", "protect", f"ours/{parent}@first")
        for clone in (f"ours/mine-of-{parent}", f"hidden/of-{parent}"):
            tools.rbd("clone", "--rbd-default-clone-format", "1", f"ours/{parent}@first", clone)
        asked = body("UnprotectImageSnapshot", image=parent)
        outcome = call(server, asked, "UnprotectImageSnapshot", bearer(callers.some))
        assert outcome.reason == "SNAPSHOT_HAS_CLONES"
        assert f"ours/mine-of-{parent}, and 1 that you may not see" in outcome.message
        assert "hidden" not in str(outcome)
        everything = call(server, asked, "UnprotectImageSnapshot", bearer(callers.all))
        assert f"hidden/of-{parent}" in everything.message


class TestWhatMayNotBeDone:
    @every_transport
    def test_is_denied_where_the_image_may_be_seen_also_where_there_is_none(
        self, server: Server, callers: Callers, tools: Tools, call: Call
    ) -> None:
        for image in ("mine-1", "mine-no-such"):
            for rpc in ("DeleteImage", "DeleteImageSnapshot", "RollbackImageSnapshot", "ProtectImageSnapshot"):
                outcome = call(server, body(rpc, image=image), rpc, bearer(callers.some))
                assert (outcome.code, outcome.reason) == ("permission_denied", "NOT_GRANTED"), rpc
        assert [snapshot["name"] for snapshot in tools.snapshots("ours/mine-1")] == ["first"]

    @every_transport
    def test_a_grant_is_for_what_it_says(
        self, server: Server, callers: Callers, new_image: NewImage, tools: Tools, call: Call
    ) -> None:
        image = f"mine-{new_image()}-too"
        tools.rbd("create", "--size", "1M", f"ours/{image}")
        for rpc in ("CreateImageSnapshot", "DeleteImageSnapshot"):
            assert call(server, body(rpc, image=image), rpc, bearer(callers.some)).code is None
        tools.rbd("rm", "--no-progress", f"ours/{image}")


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("mine-*", "IMAGE_NOT_FOUND"),  # a name like any other, which is granted
        ("mine-1\x00", "INVALID_NAME"),
        ("theirs\x00mine-1", "INVALID_NAME"),
        ("mine-1\n", "IMAGE_NOT_FOUND"),
        ("mine-1@first", "IMAGE_NOT_FOUND"),
        ("mine-1/../theirs", "IMAGE_NOT_FOUND"),
        ("../ours/theirs", "IMAGE_NOT_FOUND"),
        ("..", "IMAGE_NOT_FOUND"),
        ("*", "IMAGE_NOT_FOUND"),
        ("MINE-1", "IMAGE_NOT_FOUND"),
        ("\uff4dine-1", "IMAGE_NOT_FOUND"),  # a fullwidth m
        ("mine\u2010" + "1", "IMAGE_NOT_FOUND"),  # another hyphen
        ("theirs\u202e", "IMAGE_NOT_FOUND"),
        (" mine-1", "IMAGE_NOT_FOUND"),
    ],
)
@every_transport
def test_a_trick_with_a_name_leads_nowhere(
    server: Server, tools: Tools, callers: Callers, call: Call, image: str, reason: str
) -> None:
    before = there(tools)
    for rpc in ("CreateImageSnapshot", "DeleteImageSnapshot"):
        outcome = call(server, body(rpc, image=image), rpc, bearer(callers.some))
        assert outcome.reason in {reason, "NOT_GRANTED"}
    assert there(tools) == before


@pytest.mark.parametrize(
    "pool", ["ours/", "/ours", "ours//team", "ours/team/", "ours/./team", "ours/..", "*", "OURS", "ours\x00"]
)
@every_transport
def test_a_trick_with_a_pool_leads_nowhere(server: Server, callers: Callers, call: Call, pool: str) -> None:
    outcome = call(server, body("CreateImageSnapshot", pool=pool), "CreateImageSnapshot", bearer(callers.some))
    assert outcome.reason in {"INVALID_NAME", "POOL_NOT_FOUND", "NAMESPACE_NOT_FOUND"}
