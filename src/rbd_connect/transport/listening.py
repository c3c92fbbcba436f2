"""Sockets that listen: on addresses of either family, on all that a name stands for, or in the file system."""

import errno
import logging
import os
import resource
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from rbd_connect.config.settings import LimitSettings
from rbd_connect.config.types import Address
from rbd_connect.model.errors import StartError

__all__ = [
    "ListenError",
    "allow_many_connections",
    "bind",
    "close_listener",
    "connections_for_each",
    "listen_error",
    "owned",
    "refuse_used",
    "spelled_out",
]

_log = logging.getLogger(__name__)

_BACKLOG = 2048
# Of the descriptors: what files, workers and their sockets, and the event loop take.
_KEPT_DESCRIPTORS = 256
_LEAST_CONNECTIONS = 32
_TRIES = 16
_LOCALHOST = "localhost"
_LOOPBACK = ("127.0.0.1", "::1")
_OWNER_AND_GROUP = 0o660


_NETWORK_PROBLEMS: Mapping[int, str] = {
    errno.EADDRINUSE: "another process listens there. `ss -ltnp sport = :{port}` names it: stop it",
    errno.EADDRNOTAVAIL: "it is no address of this machine. `ip address` lists those that are, and 0.0.0.0 is all of "
    "them",
    errno.EACCES: "a port that is so low needs root, or the capability CAP_NET_BIND_SERVICE. Give it",
}
_FILE_PROBLEMS: Mapping[int, str] = {
    errno.EADDRINUSE: "another process listens there. `ss -lxp src {path}` names it: stop it",
    errno.EACCES: "this user may not write in {folder}. Change its mode or its owner",
    errno.ENOENT: "there is no folder {folder}. Make it",
    errno.EEXIST: "there is a file that is no socket. Remove it",
}


class ListenError(StartError):
    """An address cannot be listened on. Its text is one line.

    ``listener`` is the address's key among the settings; ``place`` says where it was given.
    """

    def __init__(self, listener: str, address: "Address", problem: str) -> None:
        super().__init__(listener, address, problem)
        self.listener = listener
        self.address = address
        self.problem = problem
        self.place = f"listen.{listener}"

    def __str__(self) -> str:
        return (
            f"{self.place}: cannot listen on {self.address}: {self.problem}. Or choose another address with "
            f"--listen-{self.listener}."
        )


def allow_many_connections() -> None:
    """Raise the number of open files to what is permitted: the usual 1024 is soon used up by connections."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # a service manager may forbid the system call
        _log.warning("the number of open files stays as it is, since it may not be raised: %s", error)


def connections_for_each(limits: LimitSettings) -> tuple[int, int]:
    """Give the connections that HTTP and gRPC may have, so that some descriptors are left for each and for the rest."""
    try:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # a service manager may forbid the system call
        descriptors = resource.RLIM_INFINITY
    if descriptors == resource.RLIM_INFINITY:
        return limits.connections, limits.grpc_connections
    most = max(_LEAST_CONNECTIONS, descriptors - _KEPT_DESCRIPTORS)
    http = min(limits.connections, most // 2)
    grpc = min(limits.grpc_connections, most - http)
    for name, given, wanted in (
        ("connections", http, limits.connections),
        ("grpc_connections", grpc, limits.grpc_connections),
    ):
        if given < wanted:
            _log.warning("limits.%s: %d and not %d, since %d files may be open", name, given, wanted, descriptors)
    return http, grpc


def bind(name: str, address: Address) -> tuple[list[socket.socket], Address]:
    """Listen on an address; give the sockets, and the address with the port that was chosen where it was 0.

    A name is listened on by all addresses that it stands for, so localhost by both families. ``name`` is the address's
    key among the settings. Raises ListenError.
    """
    try:
        if address.path is not None:
            refuse_used(name, address)
            return [_listen_in_files(address.path)], address
        return _listen_on_all(address)
    except OSError as error:
        raise listen_error(name, address, error) from error


def listen_error(name: str, address: Address, error: OSError) -> ListenError:
    """Say why an address cannot be listened on, and what to do."""
    return ListenError(name, address, _problem(address, error))


def _problem(address: Address, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be looked up ({error.strerror}). Write an address of this machine"
    path = address.path
    problems = _NETWORK_PROBLEMS if path is None else _FILE_PROBLEMS
    problem = problems.get(error.errno or 0, "{error}. Mend that")
    return problem.format(port=address.port, path=path, folder=path and path.parent, error=error.strerror)


def spelled_out(address: Address) -> list[Address]:
    """Give the addresses that a name stands for, as far as this machine has them. Raises OSError.

    localhost is both loopback addresses, whatever the file hosts says: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
    """
    if address.path is not None:
        return [address]
    if address.host == _LOCALHOST:
        return [Address(host, address.port) for host in _LOOPBACK if _is_here(host)]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [Address(str(host), address.port) for host in dict.fromkeys(sockaddr[0] for *_, sockaddr in found)]


def refuse_used(name: str, address: Address) -> None:
    """Raise ListenError where an address is another server's. A socket in the file system that was left is removed."""
    if address.path is None:
        sockets, _ = bind(name, address)
        for probe in sockets:
            probe.close()
        return
    _check_place(name, address, address.path)
    if not address.path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe, suppress(ConnectionRefusedError, FileNotFoundError):
        probe.connect(str(address.path))
        raise listen_error(name, address, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
    with suppress(FileNotFoundError):
        address.path.unlink()


def _check_place(name: str, address: Address, path: Path) -> None:
    """Raise ListenError where no socket can be made: what grpc raises then does not say why."""
    if not path.parent.is_dir():
        number = errno.ENOENT
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        number = errno.EACCES
    elif path.exists() and not path.is_socket():
        number = errno.EEXIST
    else:
        return
    raise listen_error(name, address, OSError(number, os.strerror(number)))


def close_listener(listener: socket.socket) -> None:
    """Close a socket that listens, and leave nothing of it in the file system."""
    path = listener.getsockname() if listener.family == socket.AF_UNIX else None
    listener.close()
    if path is not None:
        Path(path).unlink(missing_ok=True)


def owned(path: Path) -> None:
    """Let the socket's owner and group connect, and nobody else."""
    path.chmod(_OWNER_AND_GROUP)


def _listen_in_files(path: Path) -> socket.socket:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        owned(path)
        listener.listen(_BACKLOG)
        stack.pop_all()
    return listener


def _listen_on_all(address: Address) -> tuple[list[socket.socket], Address]:
    """Where the system chooses the port for one address, it may be taken on the next: then it is to choose again."""
    for attempt in range(_TRIES):
        try:
            listeners = _listen_once(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or address.port or attempt == _TRIES - 1:
                raise
        else:
            return listeners, Address(address.host, listeners[0].getsockname()[1])
    raise AssertionError


def _listen_once(address: Address) -> list[socket.socket]:
    port = address.port
    with ExitStack() as stack:
        listeners: list[socket.socket] = []
        addresses = spelled_out(address)
        for host, _ in addresses:
            listener = stack.enter_context(_listen(host, port, is_alone=len(addresses) == 1))
            listeners.append(listener)
            port = listener.getsockname()[1]
        stack.pop_all()
    return listeners


def _is_here(host: str) -> bool:
    """Say whether an address is one of this machine's: without IPv6, ::1 is not."""
    try:
        with socket.socket(_family(host)) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listen(host: str, port: int, *, is_alone: bool) -> socket.socket:
    """Make a socket that says it is TCP's: asyncio sets TCP_NODELAY on connections of no other.

    Without it, the second write of an answer waits for the client's delayed acknowledgement of the first: 40 ms.
    """
    family = _family(host)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not is_alone:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        stack.pop_all()
    return listener
