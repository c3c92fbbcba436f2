"""The one border that errors of the bindings cross: out come a CephError, or what nobody foresaw."""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import rados
import rbd

from rbd_connect.common.call_context import current
from rbd_connect.model.errors import CephError

from .errnos import LOST, MEANINGS, NOT_UTF8, OUTCOME_UNKNOWN, TIMED_OUT, Meaning

__all__ = ["ERRNO_OF_CLASS", "ceph_errors", "errno_of", "tells_of_lost_connection"]


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
        raise _ceph_error(NOT_UTF8, None) from error


def tells_of_lost_connection(error: Exception) -> bool:
    """Say whether a binding's error tells that nothing will succeed on the connection any more."""
    return MEANINGS.get(errno_of(error) or 0) is LOST


def _ceph_error(meaning: Meaning, number: int | None) -> CephError:
    progress = current()
    if progress is not None and progress.changes and meaning in {LOST, TIMED_OUT}:
        meaning = OUTCOME_UNKNOWN
    return CephError(meaning.code, meaning.reason, meaning.message, number)
