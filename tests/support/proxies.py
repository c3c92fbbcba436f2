"""nginx, HAProxy and Envoy, as people put them before servers: each a process of its own, on free ports of loopback."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .waiting import wait_until

__all__ = ["envoy", "free_ports", "haproxy", "nginx"]


def free_ports(number: int) -> list[int]:
    """Give ports that nobody listens on at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def nginx(folder: Path, http: str, ports: Sequence[int]) -> Iterator[None]:
    """Run nginx with these lines within ``http``."""
    folder.mkdir()
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{name}_temp_path {folder};" for name in paths)
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # or its workers could not write where the tests may
    config.write_text(
        f"""
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 512; }}
http {{ access_log off; {temporary}
{http}
}}
"""
    )
    with _running(["nginx", "-e", f"{folder}/log", "-p", str(folder), "-c", str(config)], folder, ports):
        yield


@contextmanager
def haproxy(folder: Path, config: str, ports: Sequence[int]) -> Iterator[None]:
    """Run HAProxy with these sections."""
    folder.mkdir()
    path = folder / "haproxy.cfg"
    path.write_text(f"global\n  maxconn 512\n{config}\n")
    with _running(["haproxy", "-db", "-f", str(path)], folder, ports):
        yield


@contextmanager
def envoy(folder: Path, config: str, ports: Sequence[int]) -> Iterator[None]:
    """Run Envoy with this configuration, YAML."""
    folder.mkdir()
    path = folder / "envoy.yaml"
    path.write_text(config)
    command = [str(Path(sys.prefix) / "bin" / "envoy"), "-c", str(path), "--concurrency", "1", "--log-level", "error"]
    words = ["--use-dynamic-base-id", "--base-id-path", str(folder / "id")]
    with _running([*command, *words], folder, ports, {"TMPDIR": str(folder)}):
        yield


@contextmanager
def _running(
    command: Sequence[str], folder: Path, ports: Sequence[int], environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a proxy while inside, from when it listens."""
    with (folder / "output").open("w") as sink:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdout=sink,
            stderr=sink,
            env={**os.environ, **(environment or {})},
        )
    try:
        wait_until(lambda: process.poll() is not None or all(map(_is_listened_on, ports)), seconds=30)
        assert process.poll() is None, (folder / "output").read_text()
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_listened_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
