"""What grpc's core is told: the bounds of connections, streams, headers and messages."""

from collections.abc import Sequence

from rbd_connect.config.settings import CallSettings, LimitSettings
from rbd_connect.transport.http.parser import MAX_HEADER_BYTES

__all__ = ["channel_arguments"]

_IDENTITY_AND_GZIP = 1 << 0 | 1 << 2
_LEAST_PING_MILLISECONDS = 500
_GRACE_SECONDS = 5
_MANY = 1 << 20


def channel_arguments(limits: LimitSettings, calls: CallSettings, connections: int) -> Sequence[tuple[str, int]]:
    """Give channel arguments. https://grpc.github.io/grpc/core/group__grpc__arg__keys.html"""
    return (
        # Else a second server on the same address would silently take half of the calls.
        ("grpc.so_reuseport", 0),
        # Decompression has no bound there, so it is done here.
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
        # Beyond this grpc refuses by itself; up to it, a message that is too large is told so as every error is told.
        ("grpc.max_receive_message_length", 4 * limits.message_bytes),
        # Between its two limits grpc refuses at random, so ours comes before either.
        ("grpc.max_metadata_size", 4 * MAX_HEADER_BYTES),
        ("grpc.absolute_max_metadata_size", 4 * MAX_HEADER_BYTES),
        ("grpc.server_handshake_timeout_ms", limits.header_timeout * 1000),
        ("grpc.max_connection_idle_ms", limits.idle_timeout * 1000),
        ("grpc.max_allowed_incoming_connections", connections),
        # Without it, one client that opens and resets streams by the thousand has grpc cancel the calls of others.
        ("grpc.max_concurrent_streams", limits.streams),
        # Beyond these, calls that wait for their turn are canceled at random, those of others, too. How many there can
        # be has its bound by connections and streams.
        ("grpc.server.max_pending_requests", _MANY),
        ("grpc.server.max_pending_requests_hard_limit", _MANY),
        # A client is told to open another connection; the calls of this one end in their own time.
        ("grpc.max_connection_age_ms", limits.connection_age * 1000),
        ("grpc.max_connection_age_grace_ms", (calls.max_timeout + _GRACE_SECONDS) * 1000),
        # By default, who asks more often than every five minutes whether a quiet connection lives loses it, and his
        # calls. https://github.com/grpc/grpc/blob/master/doc/keepalive.md
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_MILLISECONDS),
        ("grpc.keepalive_permit_without_calls", 1),
    )
