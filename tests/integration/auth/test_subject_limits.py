"""Limits of each subject: one caller cannot have every place, nor by going away."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, Call, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, held_up, write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, let_down, valid

_PLACES = 4


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture
def server(cluster: DevCluster, tokens: Tokens, tmp_path: Path) -> Iterator[Server]:
    tokens.new("nobody")
    settings = (
        tokens.setting + f"subjects = {{ in_flight = {_PLACES} }}\n" + write_scope("test", cluster) + grant("*", ["*"])
    )
    with run_server(tmp_path, settings) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def asked(server: Server, token: str) -> str:
    """Ask for what needs a place, and touches no monitor."""
    body = request("rbd", "nowhere", "s")
    return CALLS["connect"](server, body, "DeleteImageSnapshot", bearer(token)).reason


@pytest.fixture
def callers(server: Server, tokens: Tokens) -> tuple[str, str]:
    """Two tokens that are valid by now."""
    made = tokens.new("greedy"), tokens.new("modest")
    wait_until(lambda: all(asked(server, token) == "IMAGE_NOT_FOUND" for token in made))
    return made


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_who_has_all_his_places_is_told_so_and_nobody_else(
    server: Server, tools: Tools, callers: tuple[str, str], new_image: NewImage, call: Call
) -> None:
    greedy, modest = callers
    images = [new_image() for _ in range(_PLACES + 1)]
    with ThreadPoolExecutor(2 * _PLACES) as pool:
        with held_up(tools, *images) as is_held:
            running = [
                pool.submit(call, server, request("rbd", image, "s"), "CreateImageSnapshot", bearer(greedy))
                for image in images[:_PLACES]
            ]

            for image in images[:_PLACES]:
                wait_until(partial(is_held, image))
            assert asked(server, greedy) == "SUBJECT_BUSY"
            assert asked(server, modest) == "IMAGE_NOT_FOUND"
        assert all(future.result().code is None for future in running)
    assert call(server, request("rbd", images[-1], "s"), "CreateImageSnapshot", bearer(greedy)).code is None


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_goes_away_has_his_places_until_ceph_has_done_with_them(
    server: Server, tools: Tools, callers: tuple[str, str], new_image: NewImage, transport: str
) -> None:
    greedy, modest = callers
    images = [new_image() for _ in range(_PLACES)]
    with held_up(tools, *images) as is_held:
        with ExitStack() as calls:
            for image in images:
                create = valid(transport, "test", image, "s")
                headers = [*create.headers, (b"authorization", b"Bearer " + greedy.encode())]
                calls.enter_context(let_down(server, replace(create, headers=headers)))
            for image in images:
                wait_until(partial(is_held, image))
        wait_until(lambda: server.log.read_text().count(" canceled ") == _PLACES)
        assert asked(server, greedy) == "SUBJECT_BUSY"
        assert asked(server, modest) == "IMAGE_NOT_FOUND"
    wait_until(lambda: asked(server, greedy) == "IMAGE_NOT_FOUND")
