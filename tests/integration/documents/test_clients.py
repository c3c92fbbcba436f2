"""The programs and commands of docs/clients.md, run as they stand there; and they print what stands there."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import rbd

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.server import Server, run_server
from support.tls import HOST, Files
from support.tools import Tools, write_scope

from .steps import Command, File, printed, script, steps_of

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
# A browser has a test of its own, with a page that is all but the same (test_javascript_clients).
FOR_A_BROWSER = "http.server"


@pytest.fixture(scope="module")
def demo(cluster: DevCluster, tools: Tools) -> Iterator[str]:
    """The scope and the image that `make dev` has, without data."""
    with tools.ioctx() as ioctx:
        rbd.RBD().create(ioctx, "demo", 1 << 30)
    yield write_scope("dev", cluster)
    tools.rbd("snap", "purge", "--no-progress", "demo")
    tools.rbd("rm", "--no-progress", "demo")


@pytest.fixture(scope="module")
def plain(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_server(tmp_path_factory.mktemp("plain"), demo) as server:
        yield server


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.made_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def token(files: Files) -> str:
    return Tokens(files.folder).new("writer")


@pytest.fixture(scope="module")
def secured(demo: str, files: Files, token: str) -> Iterator[Server]:
    assert token
    settings = Tokens(files.folder).setting + demo + grant("writer", ["*"], scopes="dev")
    with run_server(files.folder, settings, *files.flags) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, files: Files) -> Path:
    """A folder that has what the root of the repository has, as far as the steps need it."""
    (tmp_path / "proto").symlink_to(ROOT / "proto")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    shutil.copy(files.ca, tmp_path / "ca.pem")
    return tmp_path


@pytest.mark.parametrize(
    "section",
    ["curl", "buf curl", "Python, connectrpc", "Python, grpcio", "Node, connect-node", "A page, connect-web"],
)
def test_the_steps_of_a_client(section: str, folder: Path, plain: Server, secured: Server, token: str) -> None:
    run(section, folder, plain, secured, token)


def test_the_steps_with_tls_and_a_token(folder: Path, plain: Server, secured: Server, token: str) -> None:
    run("With TLS and a token", folder, plain, secured, token)


def run(section: str, folder: Path, plain: Server, secured: Server, token: str) -> None:
    text = DOCUMENT.replace("rbdc_…", token)
    for address, server in (("127.0.0.1", plain), (HOST, secured)):
        port, grpc_port = (each.rpartition(":")[2] for each in (server.address, server.grpc_address))
        text = text.replace(f"{address}:8080", f"{address}:{port}").replace(
            f"{address}:50051", f"{address}:{grpc_port}"
        )
    steps = [step for step in steps_of(text, section) if isinstance(step, File) or FOR_A_BROWSER not in step.text]
    done = subprocess.run(
        ["bash", "-c", script(steps)], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    outputs = printed(done.stdout)
    commands = [step for step in steps if isinstance(step, Command)]
    for command, output in zip(commands, outputs, strict=False):
        assert matches(command.prints, output), f"{command.text}\n{output}"
    assert len(outputs) == len(commands), f"{commands[len(outputs)].text}\n{done.stdout}\n{done.stderr}"


def environment() -> dict[str, str]:
    """Without the virtual environment of the tests: what a step needs of it, it names."""
    own = str(ROOT / ".venv" / "bin")
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if each != own)
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | {"PATH": path}


def matches(expected: str, output: str) -> bool:
    """Compare, but for the end of the last line: a prompt follows there."""
    pattern = ".*".join(map(re.escape, expected.strip().split("…")))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None
