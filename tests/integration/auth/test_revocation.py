"""A token that is revoked lets in no longer, whatever else is wrong with the settings meanwhile."""

import fcntl
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rbd_connect.auth.tokens import read
from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.server import COMMAND, Server, run_server
from support.waiting import wait_until
from support.wire import TRANSPORTS, Answer, send, valid

SUBJECTS = ("alice", "bob", *TRANSPORTS)


@pytest.fixture
def conf(cluster: DevCluster, tmp_path: Path) -> Path:
    """A ceph.conf that can be missing."""
    conf = tmp_path / "ceph.conf"
    conf.write_text(cluster.conf.read_text())
    return conf


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture
def made(tokens: Tokens) -> dict[str, str]:
    return {subject: tokens.new(subject) for subject in SUBJECTS}


@pytest.fixture
def server(conf: Path, tokens: Tokens, made: dict[str, str], tmp_path: Path) -> Iterator[Server]:
    assert made
    scope = f'[scopes.test]\nconf = "{conf}"\nclient = "client.admin"\n'
    with run_server(tmp_path, tokens.setting + scope + grant("*", ["*"])) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def called(server: Server, token: str, transport: str = "connect-json") -> Answer:
    request = valid(transport, "test", "nowhere")
    return send(server, replace(request, headers=[*request.headers, (b"authorization", b"Bearer " + token.encode())]))


BREAKS: dict[str, Callable[[Server, Path, Path], object]] = {
    "a file of the settings is missing": lambda _server, conf, _tokens: conf.rename(conf.with_suffix(".away")),
    "the settings are empty": lambda server, _conf, _tokens: server.config.write_text(""),
    "every user may open the tokens": lambda _server, _conf, tokens: tokens.chmod(0o644),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_revocation_is_not_lost_where(
    server: Server, conf: Path, tokens: Tokens, made: dict[str, str], name: str
) -> None:
    assert called(server, made["alice"]).reason == "IMAGE_NOT_FOUND"
    BREAKS[name](server, conf, tokens.path)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "What was in force stays so" in server.log.read_text())
    for transport in TRANSPORTS:
        assert called(server, made[transport], transport).reason == "IMAGE_NOT_FOUND"
        tokens.revoke(transport)
        if "open" in name:  # the command leaves others nothing
            tokens.path.chmod(0o644)
        wait_until(lambda each=transport: called(server, made[each], each).code == "unauthenticated", 5)  # type: ignore[misc]
        assert called(server, made["bob"], transport).reason == "IMAGE_NOT_FOUND"


def test_no_token_is_valid_by_being_put_where_every_user_may_write(server: Server, tokens: Tokens) -> None:
    tokens.path.chmod(0o644)
    wait_until(lambda: "no new token in it is valid" in server.log.read_text())
    new = tokens.new("newcomer")
    tokens.path.chmod(0o644)
    server.process.send_signal(signal.SIGHUP)
    assert called(server, new).code == "unauthenticated"
    tokens.path.chmod(0o600)
    wait_until(lambda: called(server, new).reason == "IMAGE_NOT_FOUND", 5)


def test_what_failed_is_tried_until_it_succeeds(server: Server, conf: Path, made: dict[str, str]) -> None:
    """Also where the file that was missing is none that is looked at, and comes back as it was."""
    assert called(server, made["alice"]).reason == "IMAGE_NOT_FOUND"
    text = server.config.read_text()
    away = conf.with_suffix(".away")
    conf.rename(away)
    server.config.write_text(text.replace('subjects = "*"', 'subjects = "bob"'))
    wait_until(lambda: f"there is no file {conf}" in server.log.read_text())
    assert called(server, made["alice"]).reason == "IMAGE_NOT_FOUND"
    away.rename(conf)
    wait_until(lambda: called(server, made["alice"]).reason == "SCOPE_NOT_FOUND", 5)
    assert called(server, made["bob"]).reason == "IMAGE_NOT_FOUND"
    assert server.log.read_text().count("What was in force stays so") == 1


def test_commands_beside_each_other_lose_nothing(tmp_path: Path) -> None:
    """Each of several processes makes tokens, and revokes half of them."""
    path = tmp_path / "tokens"
    link = tmp_path / "link"
    link.symlink_to(path)
    script = """
import sys
from pathlib import Path
from rbd_connect.auth import tokens
path = Path(sys.argv[1])
for number in range(20):
    _, entry = tokens.new_token(f"{sys.argv[2]}-{number}", None)
    tokens.add(path, entry)
    if number % 2:
        tokens.revoke(path, entry.id)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(each), name])
        for name, each in (("a", path), ("b", path), ("c", link), ("d", link))
    ]
    assert [process.wait(60) for process in processes] == [0] * 4
    expected = {f"{name}-{number}" for name in "abcd" for number in range(0, 20, 2)}
    assert {entry.subject for entry in read(path)} == expected
    assert link.is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"tokens", "link"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_command_waits_for_another(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    tokens.new("alice")
    with tokens.path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        words = [COMMAND, "token", "new", "--subject", "bob", "--file", str(tokens.path)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
    assert process.wait(30) == 0
    assert [entry.subject for entry in read(tokens.path)] == ["alice", "bob"]
