"""Two hosts on this machine, and the network between them: a thread that passes packets on, late or not at all.

The hosts are network namespaces: the one that this process is in, and another. Each has a TUN device
(Documentation/networking/tuntap.rst in Linux), whose other end is here. It takes the right to make such devices, which
``unshare --map-root-user --net`` gives.
"""

import fcntl
import os
import select
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import click

__all__ = ["HERE", "THERE", "Network", "two_hosts"]

HERE, THERE = "10.90.0.1", "10.90.0.2"

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MTU = 9000
_TCP = 6
_PORTS = struct.Struct(">HH")
_TICK_SECONDS = 0.5


class Network:
    """What passes packets from each host to the other. Those of some ports can be held up, or lost."""

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = ends
        self._spared: frozenset[int] = frozenset()
        self._lost: frozenset[int] | None = frozenset()
        self._delay = 0.0
        self._late: deque[tuple[float, int, bytes]] = deque()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)

    def spare(self, *ports: int) -> None:
        """Never hold up or lose what goes to these ports, or comes from them."""
        self._spared = frozenset(ports)

    @contextmanager
    def cut(self, ports: Collection[int] | None = None) -> Iterator[None]:
        """Lose what goes to these ports, or comes from them; all, if None."""
        self._lost = None if ports is None else frozenset(ports)
        try:
            yield
        finally:
            self._lost = frozenset()

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Hold up every packet, in each direction."""
        self._delay = seconds
        try:
            yield
        finally:
            self._delay = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    def _pass_on(self) -> None:
        here, there = self._ends
        other = {here: there, there: here}
        while not self._done.is_set():
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, end, packet = self._late.popleft()
                _write(end, packet)
            until_next = self._late[0][0] - now if self._late else _TICK_SECONDS
            ready, _, _ = select.select(self._ends, (), (), until_next)
            for end in ready:
                self._take(os.read(end, _MTU + 100), other[end])

    def _take(self, packet: bytes, end: int) -> None:
        ports = _ports(packet)
        if not ports & self._spared:
            if self._lost is None or ports & self._lost:
                return
            if self._delay:
                self._late.append((time.monotonic() + self._delay, end, packet))
                return
        _write(end, packet)


@contextmanager
def two_hosts() -> Iterator[tuple[Network, Sequence[str]]]:
    """Make them. Give the network, and the words before a command that run it on the host there."""
    with ExitStack() as stack:
        holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        stack.callback(holder.wait)
        stack.callback(holder.kill)
        namespace = f"--net=/proc/{holder.pid}/ns/net"
        ends = [stack.enter_context(_tun(name)) for name in ("here", "there")]
        _await_namespace(holder.pid)
        _ip("link", "set", "there", "netns", str(holder.pid))
        for prefix, device, address in (((), "here", HERE), (("nsenter", namespace), "there", THERE)):
            for words in (
                ("link", "set", "lo", "up"),
                ("address", "add", f"{address}/24", "dev", device),
                ("link", "set", device, "mtu", str(_MTU), "up"),
            ):
                _ip(*words, prefix=prefix)
        with Network(ends) as network:
            yield network, ("nsenter", namespace)


@contextmanager
def _tun(name: str) -> Iterator[int]:
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        raise click.ClickException(f"the scenarios of the network need /dev/net/tun: {error.strerror}") from error
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
        yield descriptor
    finally:
        os.close(descriptor)


def _await_namespace(process: int) -> None:
    while Path(f"/proc/{process}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        time.sleep(0.01)


def _ip(*words: str, prefix: Sequence[str] = ()) -> None:
    subprocess.run([*prefix, "ip", *words], check=True)


def _ports(packet: bytes) -> frozenset[int]:
    """Give the two ports of an IPv4 packet of TCP's; none of any other."""
    if packet[0] >> 4 != 4 or packet[9] != _TCP:
        return frozenset()
    return frozenset(_PORTS.unpack_from(packet, 4 * (packet[0] & 15)))


def _write(end: int, packet: bytes) -> None:
    try:
        os.write(end, packet)
    except OSError:
        return  # the device is not up (yet, or any more), and a network may lose what it likes
