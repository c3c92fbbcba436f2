"""Room for connections: so many and no more, and where it is full, the one that has waited longest gives way.

So a client that opens connections and sends nothing takes them only from itself: a client that sends a request is
served before its connection has to give way. Connections that were answered, and whose clients do not end them, give
way first.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ConnectionLimit", "ConnectionSlot"]


def _have_nothing_to_end() -> None:
    pass


class ConnectionSlot:
    """A connection's place. One that waits for its client may be taken away; one that serves a request is kept."""

    __slots__ = ("_room", "give_way")

    def __init__(self, room: "ConnectionLimit") -> None:
        self._room = room
        # Called where the place is taken away.
        self.give_way: Callable[[], object] = _have_nothing_to_end

    def wait(self) -> None:
        """Say that the client has sent something, and has to send more. It waits since it first said so."""
        self._room.silent.pop(self, None)
        self._room.waiting.setdefault(self)

    def serve(self) -> None:
        """Say that a request has come as a whole."""
        self._room.silent.pop(self, None)
        self._room.waiting.pop(self, None)

    def end(self) -> None:
        """Say that the last answer was given, and the client has to end its side. It may be said more than once."""
        self.serve()
        if self in self._room.taken:
            self._room.ending.setdefault(self)

    def leave(self) -> None:
        """Say that the connection is no more. It may be said more than once."""
        self.serve()
        self._room.ending.pop(self, None)
        self._room.taken.discard(self)


class ConnectionLimit:
    """The places of a listener. For one event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.taken: set[ConnectionSlot] = set()
        # All in the order in which they began to wait. Those that are ending give way first, then those that have not
        # sent a byte.
        self.ending: dict[ConnectionSlot, None] = {}
        self.silent: dict[ConnectionSlot, None] = {}
        self.waiting: dict[ConnectionSlot, None] = {}

    def enter(self) -> ConnectionSlot | None:
        """Give a place, silent yet, or None where all serve requests."""
        if len(self.taken) >= self._size and not self.make_room():
            return None
        place = ConnectionSlot(self)
        self.taken.add(place)
        self.silent[place] = None
        return place

    def make_room(self) -> bool:
        """Have the one that has waited longest give way. Say whether there was one."""
        longest = next(iter(self.ending or self.silent or self.waiting), None)
        if longest is None:
            return False
        longest.leave()
        longest.give_way()
        return True
