"""What a list of images leaves out: said in the log with its reason, and, where that is all, an error."""

import errno
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import rados
from connectrpc.code import Code

from rbd_connect.ceph.errors import errno_of
from rbd_connect.ceph.pools.pool_namespace import PoolNamespace
from rbd_connect.model.errors import CephError

from .directory_reads import NoAnswerError
from .image_reads import Result

__all__ = ["Unlisted", "check_something_was_read", "report"]

_MOST_NAMED = 5
_MOST_CHARACTERS = 80

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Unlisted:
    """A place, and what is wrong with it. Namespaces are of the pool whose default one the place is."""

    place: PoolNamespace
    error: Exception | None = None
    unreadable: Sequence[str] = ()
    namespaces_error: Exception | None = None
    unreadable_namespaces: Sequence[str] = ()
    has_named_namespaces: bool = False
    results: Mapping[str, Result] = field(default_factory=dict)


def report(units: Iterable[Unlisted]) -> None:
    """Say in the log what is left out: for each place once."""
    for unit in units:
        if unit.error is not None:
            _log.warning("the images of %s are not listed: %s", unit.place, _reason(unit.error))
        if unit.namespaces_error is not None:
            _report_namespaces(unit, unit.namespaces_error)
        for what, names in (("namespaces", unit.unreadable_namespaces), ("images", unit.unreadable)):
            if names:
                text = "%d %s of %s are not listed, since their names are not UTF-8: %s"
                _log.warning(text, len(names), what, unit.place, _some(names))
        _report_images(unit)


def _report_namespaces(unit: Unlisted, error: Exception) -> None:
    if not _is_denied(error):
        _log.warning("the namespaces of %s are not listed: %s", unit.place, _reason(error))
    elif not unit.has_named_namespaces:
        _log.warning(
            "the namespaces of %s are not listed: %s. Name those that it may read in `namespaces` of the scope's "
            "settings, like %r",
            unit.place,
            _reason(error),
            f"{unit.place.pool}/NAMESPACE",
        )


def _report_images(unit: Unlisted) -> None:
    by_name = [
        f"{_short(name)} ({_cut(result.problem)})" for name, result in unit.results.items() if result.is_only_name
    ]
    if by_name:
        _log.warning("only the names are listed of %d images of %s: %s", len(by_name), unit.place, _list(by_name))
    without_usage = [_short(name) for name, result in unit.results.items() if result.is_partial]
    if without_usage:
        _log.warning(
            "the used bytes of %d images of %s are not known in time: %s",
            len(without_usage),
            unit.place,
            _list(without_usage),
        )


def check_something_was_read(units: Sequence[Unlisted]) -> None:
    """Raise rados.PermissionError where all places are barred, CephError (unavailable) where none could be read.

    Where there is no place at all, that is the answer. A caller may not know of all pools, so none is named.
    """
    errors = [unit.error for unit in units if unit.error is not None]
    if not errors or len(errors) < len(units):
        return
    if all(map(_is_denied, errors)):
        raise rados.PermissionError("no pool may be read", errno=errno.EPERM)
    if not any(map(_is_unanswered, errors)):
        raise next(error for error in errors if not _is_denied(error))
    barred = sum(map(_is_denied, errors))
    besides = f", and its Ceph user has no capability for {barred} others" if barred else ""
    # Without an errno: a list changes nothing, so nothing has to be kept from being done later.
    raise CephError(
        Code.UNAVAILABLE,
        "CEPH_TIMED_OUT",
        f"Nothing is listed: the server had no answer in time for {len(errors) - barred} pools or namespaces{besides}.",
        None,
    )


def _is_denied(error: Exception) -> bool:
    return errno_of(error) == errno.EPERM


def _is_unanswered(error: Exception) -> bool:
    return isinstance(error, NoAnswerError) or errno_of(error) == errno.ETIMEDOUT


def _reason(error: Exception) -> str:
    return "the Ceph user has no capability for that" if _is_denied(error) else str(error)


def _some(names: Sequence[str]) -> str:
    return _list([_short(name) for name in islice(names, _MOST_NAMED)], len(names))


def _list(words: Sequence[str], number: int | None = None) -> str:
    """Join the first few words, and say how many more there are."""
    more = (len(words) if number is None else number) - _MOST_NAMED
    return ", ".join(words[:_MOST_NAMED]) + (f", and {more} more" if more > 0 else "")


def _short(name: str) -> str:
    return repr(_cut(name, _MOST_CHARACTERS))


def _cut(text: str | None, most: int = 2 * _MOST_CHARACTERS) -> str:
    text = text or ""
    return text if len(text) <= most else f"{text[:most]}…"
