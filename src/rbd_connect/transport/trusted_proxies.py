"""Proxies that are believed when they say whom they speak for. From anybody else, what they send means nothing."""

import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from rbd_connect.auth.authentication import PeerConnection
from rbd_connect.config.settings import ProxySettings

from . import forwarded
from .peer import UNIX, Peer, at_the_end_of
from .proxy_protocol import read_header

__all__ = ["Proxies"]

Values = Callable[[str], Sequence[str]]


class Proxies:
    """The networks of trusted proxies, and how they say where a connection or a request comes from."""

    def __init__(self, settings: ProxySettings) -> None:
        self._networks = settings.trusted
        self._header = settings.header
        self._with_protocol = settings.proxy_protocol

    async def introduce(self, connection: socket.socket) -> Peer:
        """Give the peer of a connection; of a trusted proxy's, whom that names by the PROXY protocol where that is set.

        Raises OSError where it does not.
        """
        peer = at_the_end_of(connection)
        if self._with_protocol and self._trust(peer):
            return await read_header(connection) or peer
        return peer

    def caller(
        self, peer: Peer, values: Values, *, with_tls: bool, certificate: bytes | None
    ) -> tuple[Peer, PeerConnection]:
        """Return the caller and its connection. ``values`` gives the headers of a name.

        ``with_tls`` and ``certificate`` are those of our own connection. A trusted proxy's certificate is its own, and
        not that of the client for whom it speaks.
        """
        by_tls = with_tls if peer.with_tls is None else peer.with_tls
        if not (self._networks and self._trust(peer)):
            return peer, PeerConnection(peer.host, with_tls=by_tls, certificate=certificate)
        peers, said = forwarded.read(self._header, values)
        caller = peer
        for hop in reversed(peers):
            caller = hop
            if not self._trust(hop):
                break
        return caller, PeerConnection(caller.host, with_tls=by_tls if said is None else said)

    def _trust(self, peer: Peer) -> bool:
        if peer.host == UNIX:
            return "unix" in self._networks
        try:
            address = ip_address(peer.host.partition("%")[0])
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(not isinstance(network, str) and address in network for network in self._networks)
