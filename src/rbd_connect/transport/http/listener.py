"""The listener for HTTP: accepts connections as long as there is room, and brings TLS up on them.

asyncio's own has no bound: it takes what comes, gives each connection its TLS at once, and logs each accept that fails.
"""

import asyncio
import logging
import socket
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Sequence

from rbd_connect.transport.listening import close_listener
from rbd_connect.transport.peer import Peer

from .awaiting import first_record
from .connection_limit import Place, Room
from .protocol import Serving

__all__ = ["HttpListener"]

_log = logging.getLogger(__name__)

_ACCEPTED_IN_ONE_GO = 32
_ACCEPT_AGAIN_SECONDS = 0.5
_LOGGED_SECONDS = 10.0
# So long a connection that has come just before the end may take until its request is read.
_LATE_SECONDS = 0.5
# What asyncio's TLS reads in one go, in a buffer that each connection keeps: 256 KiB by default.
_TLS_BUFFER_BYTES = 16 * 1024

Introduce = Callable[[socket.socket], Awaitable[Peer]]


class HttpListener:
    """Sockets that listen, and what becomes of their connections. For one event loop."""

    def __init__(self, sockets: Sequence[socket.socket], serving: Serving, introduce: Introduce, *, size: int) -> None:
        """``introduce`` says who is at the other end; it may read what comes before anything else."""
        self._sockets = sockets
        self._make_protocol = serving.connection
        self._introduce = introduce
        self._limits = limits = serving.limits
        self._context = serving.config.ssl
        self._room = Room(size)
        self._handshakes = Room(limits.handshakes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._logged = float("-inf")
        if self._context is not None:
            SSLProtocol.max_size = _TLS_BUFFER_BYTES  # it is read for each connection

    def start(self) -> None:
        for listener in self._sockets:
            listener.setblocking(False)  # noqa: FBT003 - the standard library's own
            self._listen(listener)

    def close(self) -> None:
        """Accept what has come, and no more."""
        loop = asyncio.get_running_loop()
        for listener in self._sockets:
            if listener.fileno() >= 0:
                while self._accept(listener):
                    pass
                loop.remove_reader(listener)
                close_listener(listener)

    async def wait_closed(self) -> None:
        """Return when the connections that have come have their protocols; those that take too long are closed."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_LATE_SECONDS)
            for task in late:
                task.cancel()

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> bool:
        """Accept some connections. Say whether there may be more."""
        for _ in range(_ACCEPTED_IN_ONE_GO):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return False
            except OSError as error:
                self._rest(listener, error)
                return False
            connection.setblocking(False)  # noqa: FBT003 - as above
            self._take(connection)
        return True

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        """Accept nothing for a while where the system gives no more descriptors, and free one."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(_ACCEPT_AGAIN_SECONDS, self._listen, listener)
        self._room.make_room()
        self._say("cannot accept connections: %s", error.strerror)

    def _take(self, connection: socket.socket) -> None:
        task: asyncio.Task[None] | None = None

        def give_up() -> None:
            if task is not None:
                task.cancel()

        place = self._room.enter(give_up)
        if place is None:
            connection.close()
            self._say("connections are refused: all %d are in use", len(self._room.taken))
            return
        task = asyncio.get_running_loop().create_task(self._serve(connection, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, place: Place) -> None:
        """Bring a connection to where its protocol has it; TLS and all, in the time for a request's headers."""
        handed_over = False
        try:
            async with asyncio.timeout(self._limits.header_timeout):
                peer = await self._introduce(connection)
                if self._context is None:
                    await self._connect(connection, peer, place)
                else:
                    await self._shake_hands(connection, peer, place)
            handed_over = True
        except (OSError, TimeoutError, asyncio.CancelledError):
            # ssl.SSLError is an OSError. A cancellation ends here as well: kept by the task, it would keep the frames,
            # and with them TLS's memory, until the garbage collector comes.
            pass
        finally:
            if not handed_over:
                place.leave()
                connection.close()

    async def _shake_hands(self, connection: socket.socket, peer: Peer, place: Place) -> None:
        """Start TLS when the client has, so that one that is silent takes no memory for it, and no turn."""
        await first_record(connection)
        place.wait()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is a coroutine's
        turn = self._handshakes.enter(task.cancel)
        assert turn is not None  # noqa: S101 - nobody in that room serves
        try:
            await self._connect(connection, peer, place)
        finally:
            turn.leave()

    async def _connect(self, connection: socket.socket, peer: Peer, place: Place) -> None:
        seconds = None if self._context is None else self._limits.header_timeout
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self._make_protocol(peer, place), connection, ssl=self._context, ssl_handshake_timeout=seconds
        )

    def _say(self, message: str, *values: object) -> None:
        """Log what happens to many connections, and seldom."""
        self._failures += 1
        if time.monotonic() - self._logged > _LOGGED_SECONDS:
            _log.warning("%s (%d times since this was said last)", message % values, self._failures)
            self._logged = time.monotonic()
            self._failures = 0
