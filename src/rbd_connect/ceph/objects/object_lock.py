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

from rbd_connect.common.backoff import pauses

from .encoding import Reader, encode_string, encode_struct

__all__ = ["ObjectLock"]

_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05
_LOOK_SECONDS = 0.25  # how often who has it is looked at

# LIBRADOS_OPERATION_FULL_TRY, which the bindings lack: where there is no space, a lock can be let go nevertheless.
_FULL_TRY = 64

_TIME = struct.Struct("<II")  # utime_t: seconds, nanoseconds
_ENTITY = struct.Struct("<BQ")  # entity_name_t
_CLIENT = 8  # CEPH_ENTITY_TYPE_CLIENT
_EXCLUSIVE = b"\x01"  # ClsLockType
_MUST_RENEW = b"\x02"  # LOCK_FLAG_MUST_RENEW
_DESCRIPTION = "a change by rbd-connect"  # for `rados lock info`

_log = logging.getLogger(__name__)


class ObjectLock:
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
        operation = encode_struct(  # cls_lock_lock_op
            encode_string(self._name),
            _EXCLUSIVE,
            encode_string(self._cookie),
            encode_string(""),  # the tag
            encode_string(_DESCRIPTION),
            _TIME.pack(self._seconds, 0),
            _MUST_RENEW,
        )
        self._begin("lock", operation)

    def let_go(self) -> None:
        """Begin to let it go, if that was not done. What follows need not wait for that."""
        if self._letting_go is None:
            unlock = encode_struct(encode_string(self._name), encode_string(self._cookie))  # cls_lock_unlock_op
            self._letting_go = self._begin("unlock", unlock, removes_attribute=True)

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
        _, reply = self._ioctx.execute(self._oid, "lock", "get_info", encode_struct(encode_string(self._name)))
        holder = _Holder.read(reply)
        if holder is None or not is_gone(holder.client):
            return
        _log.warning("breaking the lock of client.%d on %s", holder.client, self._oid)
        self._begin("break_lock", holder.operation_to_break(self._name)).wait_for_complete()

    def _begin(self, method: str, operation: bytes, *, removes_attribute: bool = False) -> rados.Completion:
        """Have class lock change the object.

        By ``rados_exec`` it would be a read to the client, which does not repeat what an OSD without space let fall.

        ``removes_attribute`` removes what class lock keeps of a lock that nobody has. Where the change fails, nothing
        is removed.
        """
        with rados.WriteOpCtx() as change:
            change.execute("lock", method, operation)
            if removes_attribute:
                change.rm_xattr(f"lock.{self._name}")
            return self._ioctx.operate_aio_write_op(change, self._oid, flags=_FULL_TRY)


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who has a lock: the number of a RADOS client, and the cookie that it chose."""

    client: int
    cookie: bytes

    @classmethod
    def read(cls, reply: bytes) -> "_Holder | None":
        """Read the first holder of a cls_lock_get_info_reply, which has them by locker_id_t."""
        lockers = Reader(reply).versioned()
        if not lockers.u32():
            return None
        locker = lockers.versioned()
        locker.u8()  # the kind of entity
        return cls(locker.u64(), locker.string())

    def operation_to_break(self, name: str) -> bytes:
        """Encode a cls_lock_break_op."""
        return encode_struct(encode_string(name), _ENTITY.pack(_CLIENT, self.client), encode_string(self.cookie))
