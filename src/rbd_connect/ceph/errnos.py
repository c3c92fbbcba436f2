"""The one table of errnos: what each means to a client, and what it tells about the connection."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from connectrpc.code import Code

from rbd_connect.model.errors import CephError

__all__ = [
    "LOST",
    "MEANINGS",
    "NOT_UTF8",
    "OUTCOME_UNKNOWN",
    "TIMED_OUT",
    "UNREACHABLE",
    "Meaning",
    "NotConnectedError",
    "has_timed_out",
    "is_connection_lost",
    "is_denied",
    "is_unreachable",
]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an errno says to a client."""

    code: Code
    reason: str
    message: str


_CAPS = Meaning(Code.PERMISSION_DENIED, "CEPH_CAPS_MISSING", "The server's Ceph user has no capability for this.")
_KEY = Meaning(
    Code.PERMISSION_DENIED, "CEPH_AUTH_REJECTED", "The Ceph cluster does not accept the server's user and key."
)
UNREACHABLE = Meaning(Code.UNAVAILABLE, "CONNECT_FAILED", "The Ceph cluster cannot be reached.")
_VANISHED = Meaning(Code.NOT_FOUND, "VANISHED", "The pool, image or snapshot was removed meanwhile.")
_EXISTS = Meaning(Code.ALREADY_EXISTS, "EXISTS", "It exists already.")
_BUSY = Meaning(Code.FAILED_PRECONDITION, "BUSY", "It is in use.")
_NOT_EMPTY = Meaning(Code.FAILED_PRECONDITION, "NOT_EMPTY", "It still holds others.")
_STATE = Meaning(Code.FAILED_PRECONDITION, "WRONG_STATE", "Its state does not allow this.")
_REFUSED = Meaning(Code.INVALID_ARGUMENT, "REFUSED_BY_CEPH", "Ceph refuses this argument.")
_TOO_LONG = Meaning(Code.INVALID_ARGUMENT, "TOO_LONG", "A name is longer than Ceph allows.")
_RANGE = Meaning(Code.OUT_OF_RANGE, "OUT_OF_RANGE", "The argument is out of the image's range.")
_UNSUPPORTED = Meaning(Code.UNIMPLEMENTED, "NOT_SUPPORTED", "This Ceph cluster or image does not support it.")
_QUOTA = Meaning(
    Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", "The image's snapshot limit or the pool's quota is reached."
)
_FULL = Meaning(Code.RESOURCE_EXHAUSTED, "NO_SPACE", "The Ceph cluster or pool is full.")
_SERVER_FULL = Meaning(Code.RESOURCE_EXHAUSTED, "SERVER_EXHAUSTED", "The server has run out of memory or descriptors.")
_LOCK = Meaning(Code.UNAVAILABLE, "LOCK_UNAVAILABLE", "The image's exclusive lock cannot be had at the moment.")
LOST = Meaning(Code.UNAVAILABLE, "CONNECTION_LOST", "The connection to the Ceph cluster was lost.")
TIMED_OUT = Meaning(Code.UNAVAILABLE, "CEPH_TIMED_OUT", "The Ceph cluster did not answer in time. Nothing was done.")
OUTCOME_UNKNOWN = Meaning(
    Code.UNAVAILABLE,
    "OUTCOME_UNKNOWN",
    "The Ceph cluster was lost while it worked on the call. It may still be done.",
)
_TRY_AGAIN = Meaning(Code.UNAVAILABLE, "TRY_AGAIN", "The Ceph cluster asks to try again.")
_CANCELED = Meaning(Code.ABORTED, "OPERATION_CANCELED", "Ceph gave the operation up.")
NOT_UTF8 = Meaning(
    Code.FAILED_PRECONDITION, "NAME_NOT_UTF8", "A name that Ceph has is not UTF-8, so it cannot be told or acted upon."
)
_POOL_MISSING = Meaning(Code.FAILED_PRECONDITION, "POOL_MISSING", "A pool that this needs does not exist any more.")
_IO = Meaning(Code.DATA_LOSS, "IO_ERROR", "Ceph reports an I/O error.")

MEANINGS: Mapping[int, Meaning] = MappingProxyType(
    {
        errno.EPERM: _CAPS,
        errno.EACCES: _KEY,
        errno.ENOENT: _VANISHED,
        errno.EEXIST: _EXISTS,
        errno.EBUSY: _BUSY,
        errno.ENOTEMPTY: _NOT_EMPTY,
        errno.EMLINK: _STATE,  # the image belongs to a group
        errno.EXDEV: _STATE,
        errno.ENODEV: _POOL_MISSING,
        errno.EINVAL: _REFUSED,
        errno.E2BIG: _TOO_LONG,
        errno.ENAMETOOLONG: _TOO_LONG,
        errno.EDOM: _RANGE,
        errno.ERANGE: _RANGE,
        errno.EFBIG: _RANGE,
        errno.ENOSYS: _UNSUPPORTED,
        errno.EOPNOTSUPP: _UNSUPPORTED,
        errno.ENOEXEC: _UNSUPPORTED,
        errno.EDQUOT: _QUOTA,
        errno.ENOSPC: _FULL,
        errno.ENOMEM: _SERVER_FULL,
        errno.EMFILE: _SERVER_FULL,
        errno.ENFILE: _SERVER_FULL,
        # librbd answers EROFS where the lock cannot be had. An image that really is read-only is told apart before: see
        # snapshot.py.
        errno.EROFS: _LOCK,
        # EBLOCKLISTED is ESHUTDOWN (src/include/rados.h).
        errno.ESHUTDOWN: LOST,
        errno.ENOTCONN: LOST,
        errno.ECONNABORTED: LOST,
        errno.ECONNREFUSED: LOST,
        errno.ECONNRESET: LOST,
        errno.EPIPE: LOST,
        errno.EHOSTDOWN: LOST,
        errno.EHOSTUNREACH: LOST,
        errno.ENETDOWN: LOST,
        errno.ENETUNREACH: LOST,
        errno.ENXIO: LOST,
        errno.ETIMEDOUT: TIMED_OUT,
        errno.EAGAIN: _TRY_AGAIN,
        errno.EINTR: _TRY_AGAIN,
        errno.EINPROGRESS: _TRY_AGAIN,
        errno.EALREADY: _TRY_AGAIN,
        errno.ESTALE: _TRY_AGAIN,
        errno.ECANCELED: _CANCELED,
        errno.EIO: _IO,
        # librbd answers EBADMSG where the reply to its notification never came.
        errno.EBADMSG: TIMED_OUT,
        errno.EILSEQ: _IO,
        errno.ENODATA: _IO,
    }
)


def is_connection_lost(error: Exception | None) -> bool:
    """Say whether an error tells that nothing will succeed on the connection any more."""
    return isinstance(error, CephError) and MEANINGS.get(error.errno or 0) is LOST


def has_timed_out(error: Exception | None) -> bool:
    """Say whether an error tells that Ceph did not answer in time. It may do later what it was asked for."""
    return isinstance(error, CephError) and MEANINGS.get(error.errno or 0) is TIMED_OUT and not is_unreachable(error)


def is_unreachable(error: Exception | None) -> bool:
    """Say whether an error tells that the cluster did not answer when it was to be connected to."""
    return isinstance(error, CephError) and error.reason == UNREACHABLE.reason


def is_denied(error: Exception | None) -> bool:
    """Say whether an error tells that the connection, as it was when it was opened, has no caps for the call."""
    return isinstance(error, CephError) and error.reason == _CAPS.reason


class NotConnectedError(CephError):
    """The cluster was not connected to. ``cause`` says why and what to do: for the log, since it names files."""

    def __init__(self, meaning: Meaning, number: int | None, cause: str) -> None:
        super().__init__(meaning.code, meaning.reason, meaning.message, number)
        self.cause = cause
