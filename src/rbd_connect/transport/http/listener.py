"""The listener for HTTP: accepts connections as long as there is room, and brings TLS up on them.

asyncio's own has no bound: it takes what comes, gives each connection its TLS at once, and logs each accept that fails.
"""

import asyncio
import logging
import socket
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from rbd_connect.transport.listening import close_listener
from rbd_connect.transport.peer import Peer

from .awaiting import first_record
from .connection_limit import ConnectionLimit, ConnectionSlot
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
        self._room = ConnectionLimit(size)
        self._handshakes = ConnectionLimit(limits.handshakes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._connecting: set[asyncio.Task[bool]] = set()
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
        place = self._room.enter()
        if place is None:
            connection.close()
            self._say("connections are refused: all %d are in use", len(self._room.taken))
            return
        task = asyncio.get_running_loop().create_task(self._serve(connection, place))
        place.give_way = task.cancel
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, connection, place))

    def _ended(self, connection: socket.socket, place: ConnectionSlot, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():  # before it began, or it would have cleaned up itself
            place.leave()
            connection.close()

    async def _serve(self, connection: socket.socket, place: ConnectionSlot) -> None:
        """Bring a connection to where its protocol has it; TLS and all, in the time for a request's headers."""
        is_served = False
        try:
            async with asyncio.timeout(self._limits.header_timeout):
                peer = await self._begin(connection)
                if self._context is None:
                    await self._connect(connection, peer, place)
                else:
                    await self._shake_hands(connection, peer, place)
            is_served = True
        except (OSError, TimeoutError, asyncio.CancelledError):
            # ssl.SSLError is an OSError. A cancellation ends here as well: kept by the task, it would keep the frames,
            # and with them TLS's memory, until the garbage collector comes.
            pass
        finally:
            if not is_served:
                place.leave()

    async def _begin(self, connection: socket.socket) -> Peer:
        """Say who is at the other end. Where TLS is spoken, wait until the client does: silence takes no memory."""
        try:
            peer = await self._introduce(connection)
            if self._context is not None:
                await first_record(connection)
        except BaseException:
            connection.close()
            raise
        return peer

    async def _shake_hands(self, connection: socket.socket, peer: Peer, place: ConnectionSlot) -> None:
        place.wait()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - it is a coroutine's
        turn = self._handshakes.enter()
        assert turn is not None  # noqa: S101 - nobody in that room serves
        turn.give_way = task.cancel
        try:
            await self._connect(connection, peer, place)
        finally:
            turn.leave()

    async def _connect(self, connection: socket.socket, peer: Peer, place: ConnectionSlot) -> None:
        """Give a connection its transport. From here on the socket is asyncio's, and asyncio alone closes it.

        Its transports know it by its descriptor's number, which another connection has as soon as it is closed. So
        where this is cancelled, the connection is shut down: asyncio reads its end, and closes what it has made.
        """
        connecting = asyncio.create_task(self._has_transport(connection, peer, place))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            if not await asyncio.shield(connecting):
                raise ConnectionError("TLS failed")
        except asyncio.CancelledError:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            raise

    async def _has_transport(self, connection: socket.socket, peer: Peer, place: ConnectionSlot) -> bool:
        """Say whether a connection has its transport, TLS and all."""
        seconds = None if self._context is None else self._limits.header_timeout
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(peer, place), connection, ssl=self._context, ssl_handshake_timeout=seconds
            )
        except OSError as error:  # as ssl.SSLError is
            error.__traceback__ = None  # its frames have the future that has it, and all of TLS's memory
            return False
        return True

    def _say(self, message: str, *values: object) -> None:
        """Log what happens to many connections, and seldom."""
        self._failures += 1
        if time.monotonic() - self._logged > _LOGGED_SECONDS:
            _log.warning("%s (%d times since this was said last)", message % values, self._failures)
            self._logged = time.monotonic()
            self._failures = 0
