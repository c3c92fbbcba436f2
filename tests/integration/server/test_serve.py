"""`rbd-connect serve`: how it starts, what stops it from starting, and how it ends."""

import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.clients import create, error_outcome, post, request
from support.images import NewImage
from support.server import run_server, start_and_fail
from support.tools import Tools, write_scope


def free_but(listener: str) -> list[str]:
    return [f"--listen-{name}=127.0.0.1:0" for name in ("http", "grpc") if name != listener]


class TestStarting:
    def test_scopes_by_flags_alone(self, cluster: DevCluster, tmp_path: Path) -> None:
        flags = ("--scope", f"one={cluster.conf}", "--scope", f"two={cluster.conf},client=client.rbd-connect")
        with run_server(tmp_path, "", *flags) as server:
            for scope in ("one", "two"):
                assert create(server, request("rbd", "nowhere", "s", scope)).reason == "IMAGE_NOT_FOUND"

    def test_flags_over_environment_over_file(self, cluster: DevCluster, tmp_path: Path) -> None:
        file = '[listen]\nhttp = "nonsense"\n' + write_scope("file", cluster)
        environment = {"RBD_CONNECT_LISTEN_HTTP": "nonsense too", "RBD_CONNECT_SCOPES": f"variable={cluster.conf}"}
        with run_server(tmp_path, file, environment=environment) as server:
            for scope in ("file", "variable"):
                assert create(server, request("rbd", "nowhere", "s", scope)).reason == "IMAGE_NOT_FOUND"

    @pytest.mark.parametrize(
        ("words", "environment", "expected"),
        [
            (["--listen-http", "nonsense"], {}, "--listen-http: listen.http: 'nonsense' is no address"),
            ([], {"RBD_CONNECT_LISTEN_HTTP": "nonsense"}, "RBD_CONNECT_LISTEN_HTTP: listen.http: 'nonsense' is no"),
            (["--config", "/nowhere.toml"], {}, "/nowhere.toml: cannot be read: No such file or directory"),
            (["--scope", "nonsense"], {}, "--scope: 'nonsense' is no scope. Write NAME=CONF"),
            (["--scope", "a=/nowhere.conf"], {}, "--scope: scopes.a.conf: there is no file /nowhere.conf"),
            ([], {"RBD_CONNECT_SCOPES": "a=/nowhere.conf"}, "RBD_CONNECT_SCOPES: scopes.a.conf: there is no file"),
        ],
    )
    def test_a_wrong_setting_is_one_line(
        self, cluster: DevCluster, words: list[str], environment: dict[str, str], expected: str
    ) -> None:
        scope = {"RBD_CONNECT_SCOPES": f"test={cluster.conf}"}
        failed = start_and_fail("serve", *words, environment=scope | environment)
        assert failed.returncode == 1
        assert failed.stderr.startswith(f"Error: {expected}")
        assert failed.stderr.count("\n") == 1

    @pytest.mark.parametrize("listener", ["http", "grpc", "probes"])
    def test_an_address_that_is_taken_is_one_line(self, cluster: DevCluster, tmp_path: Path, listener: str) -> None:
        """With the line where it was given, and what tells who has it."""
        config = tmp_path / "settings.toml"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config.write_text(f'[listen]\n{listener} = "127.0.0.1:{port}"\n' + write_scope("a", cluster))
            failed = start_and_fail("serve", "--config", str(config), *free_but(listener))
            command = f"ss -ltnp sport = :{port}"
            assert failed.stderr == (
                f"Error: {config}, line 2: listen.{listener}: cannot listen on 127.0.0.1:{port}: another process "
                f"listens there. `{command}` names it: stop it. Or choose another address with --listen-{listener}.\n"
            )
            assert failed.returncode == 1
            told = subprocess.run(command.split(), capture_output=True, text=True, check=True).stdout
            assert f"pid={os.getpid()}," in told

    @pytest.mark.parametrize("listener", ["http", "grpc", "probes"])
    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("198.51.100.1:0", "it is no address of this machine. `ip address` lists those that are, and 0.0.0.0 is"),
            ("no.such.name.invalid:0", "the name cannot be looked up ("),
            ("unix:/nowhere/x.sock", "there is no folder /nowhere. Make it."),
            ("unix:/etc/hostname", "there is a file that is no socket. Remove it."),
        ],
    )
    def test_an_address_that_cannot_be_had_is_one_line(
        self, cluster: DevCluster, listener: str, address: str, told: str
    ) -> None:
        flags = ("--insecure", f"--listen-{listener}={address}", *free_but(listener))
        failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", *flags)
        start = f"Error: --listen-{listener}: listen.{listener}: cannot listen on {address}: {told}"
        assert failed.stderr.startswith(start)
        assert failed.stderr.endswith(f" Or choose another address with --listen-{listener}.\n")
        assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)

    def test_bindings_that_cannot_be_imported_are_one_line(self, cluster: DevCluster, tmp_path: Path) -> None:
        """As in a virtual environment without the system's packages."""
        (tmp_path / "rados.py").write_text("raise ImportError('no rados here', name='rados')\n")
        failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", environment={"PYTHONPATH": str(tmp_path)})
        assert failed.returncode == 1
        assert failed.stderr.startswith("Error: rados and rbd cannot be imported by ")
        assert "python3-rados" in failed.stderr
        assert failed.stderr.count("\n") == 1


class TestConnections:
    def test_one_is_made_at_the_first_call_and_shared(
        self, cluster: DevCluster, tools: Tools, new_image: NewImage, tmp_path: Path
    ) -> None:
        cluster.create_user("client.shared", mon="profile rbd", osd="profile rbd")
        settings = write_scope("test", cluster, ['client = "client.shared"'])
        images = [new_image() for _ in range(8)]
        with run_server(tmp_path, settings) as server, ThreadPoolExecutor(len(images)) as pool:
            assert tools.addresses("client.shared") == []
            outcomes = pool.map(lambda image: create(server, request("rbd", image, "first")), images)
            assert all(outcome.reply for outcome in outcomes)
            assert len(tools.addresses("client.shared")) == 1


def test_one_setting_lets_the_protocols_version_be_absent(cluster: DevCluster, tmp_path: Path) -> None:
    body = json.dumps(request("rbd", "nowhere", "s"))
    with run_server(tmp_path, write_scope("test", cluster), "--no-connect-require-protocol-version") as server:
        for version, reason in ((None, "IMAGE_NOT_FOUND"), ("1", "IMAGE_NOT_FOUND"), ("2", "PROTOCOL_VERSION")):
            headers = {"Content-Type": "application/json"}
            if version is not None:
                headers["Connect-Protocol-Version"] = version
            assert error_outcome(json.loads(post(server.method_url, body, headers)[1])).reason == reason


class TestTheLog:
    def test_a_call_is_one_line_with_its_request_id(self, cluster: DevCluster, tmp_path: Path) -> None:
        with run_server(tmp_path, write_scope("test", cluster)) as server:
            body = request("rbd", "nowhere", "a\nb")
            request_id = create(server, body).metadata["request_id"]
            (line,) = [line for line in server.log.read_text().splitlines() if request_id in line]
        assert "CreateImageSnapshot invalid_argument" in line
        assert json.loads(line[line.index("{") :])["snapshot_name"] == "a\nb"
