"""Room for connections: so many and no more, and where it is full, the one that has waited longest gives way.

So a stranger who opens connections and sends nothing takes them from himself: whoever sends a request is served before
his turn to give way comes.
"""

from collections.abc import Callable

__all__ = ["Place", "Room"]


class Place:
    """A connection's place. One that waits for its client may be taken away; one that serves a request is kept."""

    __slots__ = ("_room", "give_way")

    def __init__(self, room: "Room", give_way: Callable[[], object]) -> None:
        self._room = room
        self.give_way = give_way

    def wait(self) -> None:
        """Say that the client has sent something, and has to send more. It waits since it first said so."""
        self._room.silent.pop(self, None)
        self._room.waiting.setdefault(self)

    def serve(self) -> None:
        """Say that a request has come as a whole."""
        self._room.silent.pop(self, None)
        self._room.waiting.pop(self, None)

    def leave(self) -> None:
        """Say that the connection is no more. It may be said more than once."""
        self.serve()
        self._room.taken.discard(self)


class Room:
    """The places of a listener. For one event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.taken: set[Place] = set()
        # Both in the order in which they began to wait. The silent have not sent a byte; they give way before others.
        self.silent: dict[Place, None] = {}
        self.waiting: dict[Place, None] = {}

    def enter(self, give_way: Callable[[], object]) -> Place | None:
        """Give a place, silent yet, or None where all serve requests. ``give_way`` is called where it is taken away."""
        if len(self.taken) >= self._size and not self.make_room():
            return None
        place = Place(self, give_way)
        self.taken.add(place)
        self.silent[place] = None
        return place

    def make_room(self) -> bool:
        """Have the one that has waited longest give way. Say whether there was one."""
        longest = next(iter(self.silent or self.waiting), None)
        if longest is None:
            return False
        longest.leave()
        longest.give_way()
        return True
