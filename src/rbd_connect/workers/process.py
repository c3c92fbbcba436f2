"""A worker process: ``python -m rbd_connect.workers.process DESCRIPTOR SCOPE``, started by its server alone.

It ends when the server closes the socket, or ends itself, however that happens.
"""

import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

from ..ceph.cluster import Cluster, ClusterConfig
from ..ceph.sockets import Sockets
from ..errors import ServiceError
from ..log import configure_worker
from ..progress import followed
from ..secrecy import keep_memory_secret
from .channel import Call, Connected, Decoder, Outcome, Ping, Pong, encode
from .threads import Threads

__all__ = ["main"]

_RECEIVE_BYTES = 1 << 16
_TICK_SECONDS = 1.0
_THREADS_PERIOD_SECONDS = 10.0
# Where cores are short, the event loop goes first: it has little to do, and deadlines to keep.
_NICER_THAN_SERVER = 19


def main() -> None:
    # A terminal and a service manager signal the server too, and it knows when a worker is to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure_worker()
    keep_memory_secret()
    os.nice(_NICER_THAN_SERVER)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        messages = _messages(channel)
        hello = next(messages, None)
        if hello is not None:
            _serve(messages, _Worker(channel, hello.config, hello.threads))


def _messages(channel: socket.socket) -> Iterator[Any]:
    """Give what the server says until it has gone; and None where it has said nothing for a while."""
    decoder = Decoder()
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while True:
        if not poll.poll(_TICK_SECONDS * 1000):
            yield None
            continue
        try:
            data = channel.recv(_RECEIVE_BYTES)
        except ConnectionResetError:  # so it is where the server had not read all when it closed the socket
            return
        if not data:
            return
        yield from decoder.feed(data)


def _serve(messages: Iterator[Call | Ping | None], worker: "_Worker") -> None:
    sockets = Sockets()
    for message in messages:
        match message:
            case Call():
                worker.start(message)
            case Ping():
                worker.pings.put(message)
        worker.threads.review()
        sockets.review()
    if worker.threads.running:
        os._exit(1)
    worker.close()


class _Worker:
    """Makes calls, each on a thread."""

    def __init__(self, channel: socket.socket, config: ClusterConfig, threads: int) -> None:
        self.cluster = Cluster(config, on_connected=lambda address: self._send(encode(Connected(address))))
        self.threads = Threads(threads, _THREADS_PERIOD_SECONDS)
        self.pings: SimpleQueue[Ping | None] = SimpleQueue()
        self._channel = channel
        self._sending = threading.Lock()
        self._answering = threading.Thread(target=self._answer_pings, daemon=True)
        self._answering.start()

    def start(self, call: Call) -> None:
        """Begin a call. Its outcome is sent when it has ended."""
        self.threads.start(partial(self._make, call))

    def _make(self, call: Call) -> None:
        with followed(call.request_id) as progress:

            def ended(result: object = None, error: ServiceError | None = None, crash: str | None = None) -> bytes:
                return encode(Outcome(call.number, progress.phases, progress.changes, result, error, crash))

            try:
                message = ended(result=call.function(self.cluster, *call.arguments))
            except ServiceError as error:
                message = ended(error=error)
            except Exception:  # noqa: BLE001 - the server logs it
                message = ended(crash=traceback.format_exc())
        self._send(message)

    def close(self) -> None:
        """Close the connection to the cluster. No call may be under way."""
        self.pings.put(None)
        self._answering.join()
        self.cluster.close()

    def _answer_pings(self) -> None:
        """Answer on a thread of its own: where librados is stuck, so is who asks it, and no answer comes."""
        while self.pings.get() is not None:
            self.cluster.check_alive()
            self._send(encode(Pong(is_stale=self.cluster.has_changed())))

    def _send(self, message: bytes) -> None:
        with self._sending, suppress(OSError):  # where the server has gone, nobody is there to be told
            self._channel.sendall(message)


if __name__ == "__main__":
    main()
