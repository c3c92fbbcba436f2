"""Which connection gives way where there is no more room."""

from rbd_connect.transport.http.connection_limit import ConnectionLimit, ConnectionSlot


def entered(room: ConnectionLimit, gone: list[str], name: str) -> ConnectionSlot:
    place = room.enter()
    assert place is not None
    place.give_way = lambda: gone.append(name)
    return place


def test_the_silent_give_way_first_and_of_them_the_oldest() -> None:
    room, gone = ConnectionLimit(3), list[str]()
    entered(room, gone, "heard").wait()
    for name in ("silent 1", "silent 2", "silent 3", "silent 4"):
        entered(room, gone, name)
    assert gone == ["silent 1", "silent 2"]
    assert len(room.taken) == 3


def test_those_that_were_answered_give_way_before_all_others() -> None:
    room, gone = ConnectionLimit(3), list[str]()
    entered(room, gone, "silent")
    for name in ("answered", "answered later"):
        entered(room, gone, name).end()
    for name in ("new", "newer", "newest"):
        entered(room, gone, name)
    assert gone == ["answered", "answered later", "silent"]
    gone_already = room.enter()
    assert gone_already is not None
    gone_already.leave()
    gone_already.end()
    assert not room.ending


def test_then_who_has_waited_longest() -> None:
    room, gone = ConnectionLimit(2), list[str]()
    first, second = entered(room, gone, "first"), entered(room, gone, "second")
    for place in (first, second, first):  # to wait on does not count anew
        place.wait()
    entered(room, gone, "third").wait()
    assert gone == ["first"]
    second.serve()
    second.wait()  # to wait again does
    entered(room, gone, "fourth")
    assert gone == ["first", "third"]


def test_who_serves_a_request_is_kept_and_others_are_refused() -> None:
    room, gone = ConnectionLimit(1), list[str]()
    place = entered(room, gone, "served")
    place.serve()
    assert room.enter() is None
    place.leave()
    place.leave()
    assert room.enter() is not None
    assert not gone
