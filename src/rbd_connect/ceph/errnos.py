"""The one table from what librados and librbd raise to what a client is told, and the one border that errors cross."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import rados
import rbd
from connectrpc.code import Code

from ..errors import CephError
from ..progress import current

__all__ = [
    "ERRNO_OF_CLASS",
    "MEANINGS",
    "UNREACHABLE",
    "Meaning",
    "ceph_errors",
    "errno_of",
    "has_timed_out",
    "is_connection_lost",
    "is_denied",
    "is_unreachable",
    "tells_of_lost_connection",
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
_LOST = Meaning(Code.UNAVAILABLE, "CONNECTION_LOST", "The connection to the Ceph cluster was lost.")
_TIMED_OUT = Meaning(Code.UNAVAILABLE, "CEPH_TIMED_OUT", "The Ceph cluster did not answer in time. Nothing was done.")
_UNKNOWN = Meaning(
    Code.UNAVAILABLE,
    "OUTCOME_UNKNOWN",
    "The Ceph cluster was lost while it worked on the call. It may still be done.",
)
_TRY_AGAIN = Meaning(Code.UNAVAILABLE, "TRY_AGAIN", "The Ceph cluster asks to try again.")
_CANCELED = Meaning(Code.ABORTED, "OPERATION_CANCELED", "Ceph gave the operation up.")
_NOT_UTF8 = Meaning(
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
        errno.ESHUTDOWN: _LOST,
        errno.ENOTCONN: _LOST,
        errno.ECONNABORTED: _LOST,
        errno.ECONNREFUSED: _LOST,
        errno.ECONNRESET: _LOST,
        errno.EPIPE: _LOST,
        errno.EHOSTDOWN: _LOST,
        errno.EHOSTUNREACH: _LOST,
        errno.ENETDOWN: _LOST,
        errno.ENETUNREACH: _LOST,
        errno.ENXIO: _LOST,
        errno.ETIMEDOUT: _TIMED_OUT,
        errno.EAGAIN: _TRY_AGAIN,
        errno.EINTR: _TRY_AGAIN,
        errno.EINPROGRESS: _TRY_AGAIN,
        errno.EALREADY: _TRY_AGAIN,
        errno.ESTALE: _TRY_AGAIN,
        errno.ECANCELED: _CANCELED,
        errno.EIO: _IO,
        # librbd answers EBADMSG where the reply to its notification never came.
        errno.EBADMSG: _TIMED_OUT,
        errno.EILSEQ: _IO,
        errno.ENODATA: _IO,
    }
)

# The bindings' errors that come without an errno: their own objects were closed under a call, or they cut a write
# short.
ERRNO_OF_CLASS: Mapping[type[Exception], int] = MappingProxyType(
    {
        rados.RadosStateError: errno.ESHUTDOWN,
        rados.IoctxStateError: errno.ESHUTDOWN,
        rados.ObjectStateError: errno.ESHUTDOWN,
        rados.NotConnected: errno.ESHUTDOWN,
        rbd.IncompleteWriteError: errno.EIO,
    }
)


def errno_of(error: Exception) -> int | None:
    """Give a binding's error as a positive errno, or None where it has none."""
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number:
        return abs(number)
    return next((number for kind, number in ERRNO_OF_CLASS.items() if isinstance(error, kind)), None)


@contextmanager
def ceph_errors() -> Iterator[None]:
    """Turn what librados and librbd raise into a CephError.

    What the table does not know passes unchanged: it is a defect, to be logged.
    """
    try:
        yield
    except (rados.Error, rbd.Error) as error:
        number = errno_of(error)
        meaning = None if number is None else MEANINGS.get(number)
        if meaning is None:
            raise
        raise _ceph_error(meaning, number) from error
    except UnicodeDecodeError as error:
        raise _ceph_error(_NOT_UTF8, None) from error


def tells_of_lost_connection(error: Exception) -> bool:
    """Say whether a binding's error tells that nothing will succeed on the connection any more."""
    return MEANINGS.get(errno_of(error) or 0) is _LOST


def is_connection_lost(error: Exception | None) -> bool:
    """Say whether an error tells that nothing will succeed on the connection any more."""
    return isinstance(error, CephError) and MEANINGS.get(error.errno or 0) is _LOST


def has_timed_out(error: Exception | None) -> bool:
    """Say whether an error tells that Ceph did not answer in time. It may do later what it was asked for."""
    return isinstance(error, CephError) and MEANINGS.get(error.errno or 0) is _TIMED_OUT and not is_unreachable(error)


def is_unreachable(error: Exception | None) -> bool:
    """Say whether an error tells that the cluster did not answer when it was to be connected to."""
    return isinstance(error, CephError) and error.reason == UNREACHABLE.reason


def is_denied(error: Exception | None) -> bool:
    """Say whether an error tells that the connection, as it was when it was opened, has no caps for the call."""
    return isinstance(error, CephError) and error.reason == _CAPS.reason


def _ceph_error(meaning: Meaning, number: int | None) -> CephError:
    progress = current()
    if progress is not None and progress.changes and meaning in {_LOST, _TIMED_OUT}:
        meaning = _UNKNOWN
    return CephError(meaning.code, meaning.reason, meaning.message, number)
