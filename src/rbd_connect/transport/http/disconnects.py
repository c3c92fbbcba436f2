"""Whether a client that sends no more is still there: TCP says the same of one that has gone.

Of a client on this machine the kernel knows: a socket that no process has any more has no inode.
https://man7.org/linux/man-pages/man7/sock_diag.7.html
"""

import errno
import socket
import struct
from ipaddress import ip_address

__all__ = ["has_gone"]

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ALL_STATES = _NO_COOKIE = 0xFFFFFFFF
_MESSAGE = struct.Struct("=IHHII")
_ADDRESS_BYTES = 16
# The rest of struct inet_diag_msg comes before idiag_inode.
_INODE_AT = _MESSAGE.size + 4 + 48 + 16
_INODE = struct.Struct("=I")


def has_gone(connection: socket.socket) -> bool | None:
    """Say whether the process at the other end has closed its socket; None where the kernel cannot know."""
    try:
        ours, theirs = connection.getsockname(), connection.getpeername()
        if connection.family not in {socket.AF_INET, socket.AF_INET6}:
            return None
        return _inode(connection.family, theirs, ours) == 0
    except OSError as error:
        # A client of another machine's, or a kernel or a container without this.
        return True if error.errno == errno.ENOTCONN else None


def _inode(family: int, local: tuple[str, int], remote: tuple[str, int]) -> int:
    """Ask the kernel for a socket of this machine's. Raises OSError where there is none."""
    addresses = b"".join(_packed(address[0]) for address in (local, remote))
    ends = struct.pack("!HH", local[1], remote[1]) + addresses + struct.pack("=III", 0, _NO_COOKIE, _NO_COOKIE)
    request = struct.pack("=BBBxI", family, socket.IPPROTO_TCP, 0, _ALL_STATES) + ends
    head = _MESSAGE.pack(_MESSAGE.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(0)
        kernel.send(head + request)
        answer = kernel.recv(8192)
    _, kind, *_ = _MESSAGE.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY or len(answer) < _INODE_AT + _INODE.size:
        raise OSError(errno.ENOENT, "the kernel does not know of this socket")
    inode: int = _INODE.unpack_from(answer, _INODE_AT)[0]
    return inode


def _packed(host: str) -> bytes:
    return ip_address(host.partition("%")[0]).packed.ljust(_ADDRESS_BYTES, b"\0")
