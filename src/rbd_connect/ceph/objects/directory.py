"""The names of a pool's images and namespaces, as the objects have them by which librbd lists them.

librbd's own lists block, and Python's binding gives no name at all where one is not UTF-8. The class methods behind
them (``dir_list``, ``namespace_list``) could be called asynchronously, but their answers have no bound, and
``rados_aio_exec`` writes beyond its buffer. So the keys are read by which the methods keep the names
(src/cls/rbd/cls_rbd.cc, src/include/rbd_types.h).
"""

import logging
import struct
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

import rados

from .async_calls import Keys, KeysReply, Reply

__all__ = ["Names", "NamesRead", "image_names", "namespace_names", "read_image_names", "read_namespace_names"]

_DIRECTORY = "rbd_directory"
_NAMESPACES = "rbd_namespace"
_BY_NAME = "name_"
_BY_ID = "id_"

# An OSD gives 1,024 keys at a time, unless it is configured otherwise (osd_max_omap_entries_per_request).
_PAGE_KEYS = 256
_PAGE_BYTES = 1 << 16
_LENGTH = struct.Struct("<I")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Names:
    """Names in their order. Those that are not UTF-8 no call can name: they are in ``unreadable``, escaped."""

    readable: tuple[str, ...]
    unreadable: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Self:
        readable, unreadable = [], []
        for name in names:
            try:
                readable.append(name.decode())
            except UnicodeDecodeError:
                unreadable.append(name.decode(errors="backslashreplace"))
        return cls(tuple(sorted(readable)), tuple(sorted(unreadable)))


class _Answer(Protocol):
    def wait(self) -> object: ...


_Ask = Callable[[rados.Ioctx, Callable[[], None]], _Answer]
_Asking = Generator[_Ask, Any, Names]


class NamesRead:
    """Names that are read by one question to an OSD after the other, for none of which anybody need wait."""

    def __init__(self, ioctx: rados.Ioctx, asking: _Asking, on_answer: "Callable[[NamesRead], None]") -> None:
        """``on_answer`` is called by a thread of librados whenever ``go_on`` is to be called, after the first time."""
        self._ioctx = ioctx
        self._asking = asking
        self._on_answer = on_answer
        self._answer: _Answer | None = None

    def go_on(self) -> Names | None:
        """Take what was answered. Give the names when these are all, else ask on and give None.

        Raises ``rados.Error``.
        """
        try:
            ask = self._next_question()
        except StopIteration as end:
            names: Names = end.value
            return names
        self._answer = ask(self._ioctx, partial(self._on_answer, self))
        return None

    def _next_question(self) -> _Ask:
        if self._answer is None:
            return next(self._asking)
        try:
            answered = self._answer.wait()
        except rados.ObjectNotFound as error:
            return self._asking.throw(error)
        return self._asking.send(answered)


def read_image_names(ioctx: rados.Ioctx, on_answer: Callable[[NamesRead], None]) -> NamesRead:
    """Read the names of a namespace's images, as ``rbd_list2`` does. Those of format 1 are in the default one only."""
    return NamesRead(ioctx, _image_names(with_old_format=not ioctx.get_namespace()), on_answer)


def read_namespace_names(ioctx: rados.Ioctx, on_answer: Callable[[NamesRead], None]) -> NamesRead:
    """Read the names of a pool's namespaces, as ``rbd_namespace_list`` does, for a handle of its default one."""
    return NamesRead(ioctx, _namespace_names(), on_answer)


def image_names(ioctx: rados.Ioctx) -> Names:
    """Give the names of the images of a pool's namespace. Blocks. Raises ``rados.Error``."""
    return _all_of(read_image_names(ioctx, lambda _: None))


def namespace_names(ioctx: rados.Ioctx) -> Names:
    """Give the names of a pool's namespaces, for a handle of its default one. Blocks. Raises ``rados.Error``."""
    return _all_of(read_namespace_names(ioctx, lambda _: None))


def _all_of(read: NamesRead) -> Names:
    while (names := read.go_on()) is None:
        pass
    return names


def _image_names(*, with_old_format: bool) -> _Asking:
    names = set((yield from _names_of_old_format()) if with_old_format else ())
    try:
        by_name, are_all = yield from _keys(_DIRECTORY, _BY_NAME)
        names.update(key.removeprefix(_BY_NAME.encode()) for key in by_name)
        if not are_all:  # ids are ASCII
            by_id, _ = yield from _keys(_DIRECTORY, _BY_ID)
            names.update(value[_LENGTH.size :] for value in by_id.values())
    except rados.ObjectNotFound:
        pass
    return Names.of(names)


def _namespace_names() -> _Asking:
    try:
        by_name, are_all = yield from _keys(_NAMESPACES, _BY_NAME)
    except rados.ObjectNotFound:
        return Names((), ())
    if not are_all:
        _log.warning("more than %d names of namespaces in a row are not UTF-8: later ones are not read", _PAGE_KEYS)
    return Names.of(key.removeprefix(_BY_NAME.encode()) for key in by_name)


def _keys(oid: str, prefix: str) -> Generator[_Ask, Any, tuple[dict[bytes, bytes], bool]]:
    """Read the keys of an object that have a prefix, with their values, and say whether these are all.

    The binding wants to be told in UTF-8 where a page begins. So it begins after the last key that is UTF-8, and where
    a page has none, that is the end.
    """
    found: dict[bytes, bytes] = {}
    after = ""
    while True:
        page = yield _keys_after(oid, prefix, after)
        found |= page
        readable = Names.of(page).readable
        if len(page) < _PAGE_KEYS or not readable:
            return found, len(page) < _PAGE_KEYS
        after = readable[-1]


def _keys_after(oid: str, prefix: str, after: str) -> _Ask:
    keys = Keys(oid=oid, prefix=prefix, after=after, at_most=_PAGE_KEYS)
    return lambda ioctx, on_end: KeysReply(ioctx, keys, on_end)


def _names_of_old_format() -> Generator[_Ask, Any, list[bytes]]:
    """Read the names of images of format 1, which are in the data of the directory."""
    data = b""
    while True:
        try:
            page = yield _data_from(len(data))
        except rados.ObjectNotFound:
            return []
        data += page
        if len(page) < _PAGE_BYTES:
            break
    try:
        return _decode_map(data) if data else []
    except struct.error:
        _log.warning("the directory of images of format 1 is garbled, and is not read")
        return []


def _data_from(offset: int) -> _Ask:
    return lambda ioctx, on_end: Reply(partial(ioctx.aio_read, _DIRECTORY, _PAGE_BYTES, offset), on_end)


def _decode_map(data: bytes) -> list[bytes]:
    """Give the keys of what was once a tmap: a header, and a map (src/librbd/api/Image.cc). Raises struct.error."""
    names = []
    _, place = _decode_string(data, 0)
    (number,) = _LENGTH.unpack_from(data, place)
    place += _LENGTH.size
    for _ in range(number):
        name, place = _decode_string(data, place)
        _, place = _decode_string(data, place)
        names.append(name)
    return names


def _decode_string(data: bytes, place: int) -> tuple[bytes, int]:
    """Give a string, and where what follows it begins."""
    (length,) = _LENGTH.unpack_from(data, place)
    end = place + _LENGTH.size + length
    if end > len(data):
        raise struct.error("a string is cut short")
    return data[place + _LENGTH.size : end], end
