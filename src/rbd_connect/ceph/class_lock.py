"""librados' advisory lock on an object, with what the bindings lack of it.

They cannot unlock or renew without waiting, nor say who has a lock, nor break it; so what the OSD's class lock takes is
encoded here (src/cls/lock/cls_lock_ops.h).
"""

import logging
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import rados

from ..backoff import pauses

__all__ = ["ClassLock"]

_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05
_LOOK_SECONDS = 0.25  # how often who has it is looked at

# LIBRADOS_OPERATION_FULL_TRY, which the bindings lack: where there is no space, a lock can be let go nevertheless.
_FULL_TRY = 64

_STRUCT = struct.Struct("<BBI")  # version, the oldest that can read it, bytes that follow
_COUNT = struct.Struct("<I")
_TIME = struct.Struct("<II")  # utime_t: seconds, nanoseconds
_ENTITY = struct.Struct("<BQ")  # entity_name_t
_CLIENT = 8  # CEPH_ENTITY_TYPE_CLIENT
_EXCLUSIVE = b"\x01"  # ClsLockType
_MUST_RENEW = b"\x02"  # LOCK_FLAG_MUST_RENEW
_DESCRIPTION = "a change by rbd-connect"  # for `rados lock info`

_log = logging.getLogger(__name__)


class ClassLock:
    """A lock (``rados_lock_exclusive``) of a name on an object. It ends by itself after so many seconds."""

    def __init__(self, ioctx: rados.Ioctx, oid: str, name: str, *, seconds: int) -> None:
        self._ioctx = ioctx
        self._oid = oid
        self._name = name
        self._seconds = seconds
        self._cookie = uuid4().hex
        self._letting_go: rados.Completion | None = None

    def take(self, patience: float, is_gone: Callable[[int], bool] | None = None) -> bool:
        """Wait for it, so many seconds, and say whether it was taken; it is tried a last time when they have passed.

        ``is_gone`` says of a RADOS client, by its number, whether the lock may be taken away from it. Raises what the
        bindings raise.
        """
        deadline = time.monotonic() + patience
        look = time.monotonic() + _LOOK_SECONDS
        for pause in pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS):
            is_last = time.monotonic() > deadline
            if self._try_to_take():
                return True
            if is_last:
                return False
            if is_gone is not None and time.monotonic() > look:
                self._break_if(is_gone)
                look = time.monotonic() + _LOOK_SECONDS
            time.sleep(pause)
        raise AssertionError

    def renew(self) -> None:
        """Ask for as many seconds again, where it is still ours. Nothing is waited for."""
        operation = _struct(  # cls_lock_lock_op
            _string(self._name),
            _EXCLUSIVE,
            _string(self._cookie),
            _string(""),  # the tag
            _string(_DESCRIPTION),
            _TIME.pack(self._seconds, 0),
            _MUST_RENEW,
        )
        self._begin("lock", operation)

    def let_go(self) -> None:
        """Begin to let it go, if that was not done. What follows need not wait for that."""
        if self._letting_go is None:
            operation = _struct(_string(self._name), _string(self._cookie))  # cls_lock_unlock_op
            self._letting_go = self._begin("unlock", operation)

    def wait_until_let_go(self) -> None:
        """Let it go, and wait until that is done."""
        self.let_go()
        assert self._letting_go is not None  # noqa: S101 - begun just now, or before
        self._letting_go.wait_for_complete()

    def _try_to_take(self) -> bool:
        try:
            self._ioctx.lock_exclusive(self._oid, self._name, self._cookie, _DESCRIPTION, self._seconds, 0)
        except rados.ObjectBusy:
            return False
        return True

    def _break_if(self, is_gone: Callable[[int], bool]) -> None:
        """Take it away from who has it, where that one is gone."""
        _, reply = self._ioctx.execute(self._oid, "lock", "get_info", _struct(_string(self._name)))
        holder = _Holder.read(reply)
        if holder is None or not is_gone(holder.client):
            return
        _log.warning("breaking the lock of client.%d on %s", holder.client, self._oid)
        self._begin("break_lock", holder.operation_to_break(self._name)).wait_for_complete()

    def _begin(self, method: str, operation: bytes) -> rados.Completion:
        """Have class lock change the object.

        By ``rados_exec`` it would be a read to the client, which does not repeat what an OSD without space let fall.
        """
        with rados.WriteOpCtx() as change:
            change.execute("lock", method, operation)
            return self._ioctx.operate_aio_write_op(change, self._oid, flags=_FULL_TRY)


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who has a lock: the number of a RADOS client, and the cookie that it chose."""

    client: int
    cookie: bytes

    @classmethod
    def read(cls, reply: bytes) -> "_Holder | None":
        """Read the first holder of a cls_lock_get_info_reply, which has them by locker_id_t."""
        (number,) = _COUNT.unpack_from(reply, _STRUCT.size)
        if not number:
            return None
        place = _STRUCT.size + _COUNT.size + _STRUCT.size
        _, client = _ENTITY.unpack_from(reply, place)
        (length,) = _COUNT.unpack_from(reply, place + _ENTITY.size)
        start = place + _ENTITY.size + _COUNT.size
        return cls(client, reply[start : start + length])

    def operation_to_break(self, name: str) -> bytes:
        """Encode a cls_lock_break_op."""
        return _struct(_string(name), _ENTITY.pack(_CLIENT, self.client), _COUNT.pack(len(self.cookie)), self.cookie)


def _struct(*parts: bytes) -> bytes:
    """Encode what ENCODE_START(1, 1) begins (src/include/encoding.h)."""
    content = b"".join(parts)
    return _STRUCT.pack(1, 1, len(content)) + content


def _string(text: str) -> bytes:
    return _COUNT.pack(len(text)) + text.encode()
