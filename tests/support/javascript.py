"""JavaScript clients: connect-node, in a process for each call, and connect-web, in a page of a headless Chromium."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from .clients import Outcome
from .server import Server

__all__ = ["NODE_TRANSPORTS", "WEB_TRANSPORTS", "Page", "node", "open_page"]

NODE_TRANSPORTS = ("connect", "grpc-web", "grpc")
WEB_TRANSPORTS = ("connect-json", "connect-binary", "grpc-web")

_NODE = str(Path(sys.prefix) / "bin" / "node")
_FOLDER = Path(__file__).parents[1] / "javascript"
_SECONDS = 60
_CHROMIUM = (
    "chromium",
    "--headless=new",
    "--no-sandbox",  # it does not start as root otherwise
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--enable-logging=stderr",
)


def node(transport: str, server: Server, body: Mapping[str, str]) -> Outcome:
    url = f"http://{server.grpc_address}" if transport == "grpc" else server.url
    done = subprocess.run(
        [_NODE, str(_FOLDER / "node_client.mjs"), transport, url, json.dumps(body)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout))


@dataclass(frozen=True)
class Page:
    """A page that is open in a browser, and makes the calls that it is given. ``log`` is what the browser prints."""

    origin: str
    log: Path
    calls: "SimpleQueue[Any]"
    outcomes: "SimpleQueue[Any]"

    def call(self, transport: str, server: Server, body: Mapping[str, str]) -> Outcome:
        self.calls.put({"transport": transport, "baseUrl": server.url, "body": body})
        try:
            return Outcome(**self.outcomes.get(timeout=_SECONDS))
        except Empty:
            raise AssertionError(f"no outcome in {_SECONDS} s\n{self.log.read_text()}") from None


@contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """Serve the page on a free port, and keep it open in a Chromium."""
    calls: SimpleQueue[Any] = SimpleQueue()
    outcomes: SimpleQueue[Any] = SimpleQueue()
    log = folder / "chromium.log"
    with _serve(calls, outcomes) as origin, _chromium(f"{origin}/page.html", folder / "profile", log):
        yield Page(origin, log, calls, outcomes)


@contextmanager
def _serve(calls: "SimpleQueue[Any]", outcomes: "SimpleQueue[Any]") -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, calls, outcomes)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            calls.put(None)  # ends the request that waits for a call
            server.shutdown()
            thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Files, the next call to make, and a place for its outcome."""

    def __init__(
        self,
        calls: "SimpleQueue[Any]",
        outcomes: "SimpleQueue[Any]",
        *arguments: Any,  # noqa: ANN401 - the base class's own matter
    ) -> None:
        self._calls = calls
        self._outcomes = outcomes
        super().__init__(*arguments, directory=str(_FOLDER))

    def do_GET(self) -> None:
        if self.path == "/call":
            self._hand_out(self._calls.get())
        else:
            super().do_GET()

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self._outcomes.put(json.loads(self.rfile.read(length)))
        self._answer(b"")

    def log_message(self, *_: object) -> None:
        pass

    def _hand_out(self, call: object) -> None:
        if call is not None:
            self._answer(json.dumps(call).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def _chromium(url: str, profile: Path, log: Path) -> Iterator[None]:
    with log.open("w") as sink:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *_CHROMIUM, f"--user-data-dir={profile}", url],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env={**os.environ, "XDG_CONFIG_HOME": str(profile)},  # for what heeds no --user-data-dir
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
