"""A worker process: ``python -m rbd_connect.dispatch.worker.main DESCRIPTOR SCOPE``, started by its server alone.

It ends when the server closes the socket, or ends itself, however that happens.
"""

import logging
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
from operator import methodcaller
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from rbd_connect.ceph.cluster.connection import Cluster
from rbd_connect.ceph.operations import ClusterOperations
from rbd_connect.ceph.workarounds.tcp_timeouts import TcpTimeouts
from rbd_connect.common.call_context import CallContext, followed
from rbd_connect.common.logging import configure_worker
from rbd_connect.common.memory_protection import keep_memory_secret
from rbd_connect.model.errors import ServiceError

from .channel import Call, Connected, Decoder, Init, Ping, Pong, Result, encode
from .threads import Threads

if TYPE_CHECKING:
    from rbd_connect.dispatch.operations import Operations

__all__ = ["main"]

_RECEIVE_BYTES = 1 << 16
_TICK_SECONDS = 1.0
_THREADS_PERIOD_SECONDS = 10.0
_NICER_THAN_SERVER = 19
_NOBODY_ELSE_WRITES = 0o022
_REVIEW_SECONDS = 5.0
_END_SECONDS = 0.5

_log = logging.getLogger(__name__)


def main() -> None:
    # A terminal and a service manager signal the server too, and it knows when a worker is to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    configure_worker()
    keep_memory_secret()
    _let_server_go_first()
    # librados' admin socket is for this user alone, whatever the server was started with.
    os.umask(os.umask(_NOBODY_ELSE_WRITES) | _NOBODY_ELSE_WRITES)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        messages = _messages(channel)
        init = next(messages, None)
        if init is not None:
            _serve(messages, _Runtime(channel, init))


def _let_server_go_first() -> None:
    """Where cores are short, the event loop goes first: it has little to do, and deadlines to keep."""
    try:
        os.nice(_NICER_THAN_SERVER)
    except OSError as error:  # so it is under systemd's SystemCallFilter=~@resources
        _log.warning("the worker keeps the server's priority, since it may not lower its own: %s", error.strerror)


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


def _serve(messages: Iterator[Call | Ping | None], worker: "_Runtime") -> None:
    sockets = TcpTimeouts()
    for message in messages:
        match message:
            case Call():
                worker.start(message)
            case Ping():
                worker.pings.put(message)
        worker.threads.review()
        sockets.review()
    if not worker.close():
        os._exit(1)


class _Runtime:
    """Makes calls, each on a thread."""

    def __init__(self, channel: socket.socket, init: Init) -> None:
        self.cluster = Cluster(
            init.config,
            on_connected=lambda address: self._send(encode(Connected(address))),
            admin_socket=init.admin_socket,
        )
        self._operations: Operations = ClusterOperations(self.cluster)
        self.threads = Threads(init.threads, _THREADS_PERIOD_SECONDS)
        self.pings: SimpleQueue[Ping | None] = SimpleQueue()
        self._under_way: dict[int, CallContext] = {}
        self._channel = channel
        self._sending = threading.Lock()
        self._answering = threading.Thread(target=self._answer_pings, daemon=True)
        self._answering.start()
        self._is_ending = threading.Event()
        self._reviewing = threading.Thread(target=self._review_configuration, daemon=True)
        self._reviewing.start()

    def start(self, call: Call) -> None:
        """Begin a call. Its outcome is sent when it has ended."""
        self.threads.start(partial(self._make, call))

    def _make(self, call: Call) -> None:
        with followed(call.request_id) as progress:
            self._under_way[call.number] = progress

            def ended(result: object = None, error: ServiceError | None = None, crash: str | None = None) -> bytes:
                return encode(Result(call.number, progress.spent(), progress.changes, result, error, crash))

            try:
                message = ended(result=methodcaller(call.operation, *call.arguments)(self._operations))
            except ServiceError as error:
                message = ended(error=error)
            except Exception:  # noqa: BLE001 - the server logs it
                message = ended(crash=traceback.format_exc())
        del self._under_way[call.number]
        self._send(message)

    def close(self) -> bool:
        """Close the connection to the cluster, and say whether that was done: not while something is under way."""
        self._is_ending.set()
        self._reviewing.join(_END_SECONDS)
        if self.threads.running or self.cluster.is_waiting or self._reviewing.is_alive():
            self.cluster.remove_admin_socket()
            return False
        self.pings.put(None)
        self._answering.join()
        self.cluster.close()
        return True

    def _answer_pings(self) -> None:
        """Answer on a thread of its own: where librados is stuck, so is who asks it, and no answer comes."""
        while self.pings.get() is not None:
            self.cluster.check_alive()
            spent = {number: progress.spent() for number, progress in dict(self._under_way).items()}
            self._send(encode(Pong(is_stale=self.cluster.has_changed(), spent=spent)))

    def _review_configuration(self) -> None:
        """Do so on a thread of its own: it waits for monitors."""
        while not self._is_ending.wait(_REVIEW_SECONDS):
            self.cluster.review_configuration()

    def _send(self, message: bytes) -> None:
        with self._sending, suppress(OSError):  # where the server has gone, nobody is there to be told
            self._channel.sendall(message)


if __name__ == "__main__":
    main()
