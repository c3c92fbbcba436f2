"""Settings that are cut short, emptied or gone while the server runs: nobody is let in by that, nor is kept out."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools
from support.waiting import wait_until
from support.wire import TRANSPORTS, Answer, send, valid

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)

STAYS = "What was in force stays so"
REFUSED = "everybody would be let in without a credential"


@dataclass
class Setup:
    """A server whose scope is given by a flag, so that its file can have nothing in it."""

    server: Server
    settings: str
    token: str

    def attack(self, transport: str, image: str) -> Answer:
        """Make a snapshot without a credential."""
        return send(self.server, valid(transport, "test", image, "attack"))

    def call(self, transport: str, image: str = "nowhere") -> Answer:
        request = valid(transport, "test", image)
        credential = (b"authorization", b"Bearer " + self.token.encode())
        return send(self.server, replace(request, headers=[*request.headers, credential]))

    def logged(self, text: str) -> int:
        return self.server.log.read_text().count(text)


@pytest.fixture
def setup(cluster: DevCluster, tmp_path: Path) -> Iterator[Setup]:
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    settings = tokens.setting + grant("alice", ["*"])
    with run_server(tmp_path, settings, f"--scope=test={cluster.conf},client=client.admin") as server:
        yield Setup(server, settings, token)
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("left", ["", "insecure = true\n"])
def test_a_file_that_says_nothing_of_credentials_lets_nobody_in(
    setup: Setup, tools: Tools, new_image: NewImage, left: str
) -> None:
    image = new_image()
    setup.server.config.write_text(left)
    wait_until(lambda: setup.logged(REFUSED))
    for transport in TRANSPORTS:
        assert setup.attack(transport, image).code == "unauthenticated"
        assert setup.call(transport).reason == "IMAGE_NOT_FOUND"
    assert tools.snapshots(f"rbd/{image}") == []
    assert setup.logged(STAYS) == 1, "it is said, and not each second"


def test_nor_does_one_that_is_asked_to_be_read(setup: Setup, new_image: NewImage) -> None:
    image = new_image()
    setup.server.config.write_text("")
    setup.server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: setup.logged(REFUSED))
    assert {setup.attack(transport, image).code for transport in TRANSPORTS} == {"unauthenticated"}


@pytest.mark.parametrize("kind", ["none", "folder", "fifo"])
def test_nor_one_that_is_no_file_any_more(setup: Setup, new_image: NewImage, kind: str) -> None:
    image = new_image()
    config = setup.server.config
    config.unlink()
    if kind == "folder":
        config.mkdir()
    elif kind == "fifo":
        os.mkfifo(config)
    wait_until(lambda: setup.logged(STAYS))
    for transport in TRANSPORTS:
        assert setup.attack(transport, image).code == "unauthenticated"
        assert setup.call(transport).reason == "IMAGE_NOT_FOUND"


def test_a_pipe_in_the_place_of_the_tokens_holds_up_nobody(setup: Setup) -> None:
    path = setup.server.config.with_name("tokens")
    path.unlink()
    os.mkfifo(path, 0o600)
    wait_until(lambda: setup.logged(STAYS))
    for transport in TRANSPORTS:
        assert setup.call(transport).reason == "IMAGE_NOT_FOUND"


def test_a_grant_that_is_cut_in_the_middle_is_to_nobody_else(setup: Setup) -> None:
    text = setup.settings + '\n[[grants]]\nactions = "*"\nscopes = "*"\npools = "*"\nimages = "*"\nsubjects = "x"\n'
    more = 'namespaces = "team"\n'
    setup.server.config.write_text(text + more)
    wait_until(lambda: setup.logged("were read anew"))
    setup.server.config.write_text(text)
    wait_until(lambda: setup.logged("cut short in the middle of [[grants]] number 2"))
    setup.server.config.write_text(text + more)
    wait_until(lambda: setup.logged("were read anew") == 2)


def test_settings_from_a_pipe_are_not_read_again(cluster: DevCluster, tmp_path: Path, new_image: NewImage) -> None:
    """By then the pipe that the shell made has nothing in it."""
    image = new_image()
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    source = tmp_path / "secret.toml"
    source.write_text(tokens.setting + grant("alice", ["*"]))
    scope = f"--scope=test={cluster.conf},client=client.admin"
    prefix = ("bash", "-c", 'exec "$@" --config <(cat "$0")', str(source))
    with run_server(tmp_path, "", scope, prefix=prefix) as server:
        setup = Setup(server, "", token)
        assert setup.call("connect-json").reason == "IMAGE_NOT_FOUND"
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: setup.logged(STAYS))
        for transport in TRANSPORTS:
            assert setup.attack(transport, image).code == "unauthenticated"
            assert setup.call(transport).reason == "IMAGE_NOT_FOUND"
        tokens.revoke("alice")
        wait_until(lambda: setup.call("connect-json").code == "unauthenticated")
