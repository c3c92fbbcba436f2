"""Ceph's encoding of values, as class calls take and return them (src/include/encoding.h)."""

import struct

__all__ = ["Reader", "encode_string", "encode_struct", "encode_u64"]

_U8 = struct.Struct("<B")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_I64 = struct.Struct("<q")
_START = struct.Struct("<BBI")  # version, the oldest version that can read it, bytes that follow


def encode_string(text: str | bytes) -> bytes:
    """Encode a string: its length in bytes as u32, then its bytes."""
    content = text.encode() if isinstance(text, str) else text
    return _U32.pack(len(content)) + content


def encode_u64(number: int) -> bytes:
    """Encode an unsigned integer of 64 bits."""
    return _U64.pack(number)


def encode_struct(*parts: bytes) -> bytes:
    """Encode what ``ENCODE_START(1, 1)`` begins and ``ENCODE_FINISH`` ends."""
    content = b"".join(parts)
    return _START.pack(1, 1, len(content)) + content


class Reader:
    """Reads values one after the other. Each method raises ``struct.error`` where the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u8(self) -> int:
        return self._number(_U8)

    def u32(self) -> int:
        return self._number(_U32)

    def u64(self) -> int:
        return self._number(_U64)

    def i64(self) -> int:
        return self._number(_I64)

    def string(self) -> bytes:
        """Read a string. What it holds need not be UTF-8."""
        return self._take(self.u32())

    def versioned(self) -> "Reader":
        """Read what ``ENCODE_START`` begins, whatever its version; newer fields come last and may be left unread."""
        _, _, length = _START.unpack(self._take(_START.size))
        return Reader(self._take(length))

    def _number(self, kind: struct.Struct) -> int:
        (number,) = kind.unpack(self._take(kind.size))
        return int(number)

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise struct.error(f"{end - len(self._data)} bytes are missing")
        taken = self._data[self._at : end]
        self._at = end
        return taken
