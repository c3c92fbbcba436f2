"""Why a cluster cannot be connected to: for a client a code and a reason; for the log the cause, and what to do.

librados has one errno for several causes, in whatever order it comes upon them: of a missing keyring it says ENOENT or
EACCES, of a configuration without a monitor ENOENT too. So the files are looked at, and the first cause is told.
"""

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rados
from connectrpc.code import Code

from rbd_connect.ceph.errnos import UNREACHABLE, Meaning, NotConnectedError
from rbd_connect.ceph.errors import errno_of

from .keyrings import exposed_file, keyrings

__all__ = ["Identification"]

_AUTH = Meaning(
    Code.PERMISSION_DENIED, "CEPH_AUTH_REJECTED", "The Ceph cluster does not accept the server's user and key."
)
_KEYRING_MISSING = Meaning(
    Code.PERMISSION_DENIED, "CEPH_KEYRING_MISSING", "The server has no keyring for its Ceph user."
)
_KEYRING_UNREADABLE = Meaning(
    Code.PERMISSION_DENIED, "CEPH_KEYRING_UNREADABLE", "The server cannot read the keyring of its Ceph user."
)
_KEYRING_EXPOSED = Meaning(
    Code.PERMISSION_DENIED, "CEPH_KEYRING_EXPOSED", "The server's keyring is open to others, so it is not used."
)
_CONF = Meaning(Code.UNAVAILABLE, "CEPH_CONF_UNREADABLE", "The server cannot read the cluster's configuration.")
_NO_MONITORS = Meaning(
    Code.UNAVAILABLE, "CEPH_MONITORS_UNKNOWN", "The cluster's configuration does not say where its monitors are."
)

_MONITOR_SECTION = re.compile(r"^\s*\[mon\.", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """What a connection is made by: the configuration file, the user, and the seconds that it may take."""

    scope: str
    conf: Path
    client: str
    timeout: int

    def conf_error(self, error: rados.Error) -> NotConnectedError:
        """Tell of what ``rados_conf_read_file`` raised: ENOENT, whatever is wrong with a file that cannot be opened."""
        try:
            with self.conf.open("rb"):
                what = "is not a Ceph configuration file, or an option in it has a wrong value. Correct it"
        except OSError as problem:
            what = (
                f"cannot be read: {problem.strerror}. Make it readable for the server, or correct {self._key('conf')}"
            )
        return NotConnectedError(_CONF, errno_of(error), f"{self.conf} {what}.")

    def check_keyring(self, connection: rados.Rados) -> None:
        """Raise NotConnectedError where every user of this machine may open the file with the key."""
        try:
            exposed = exposed_file(connection, self.conf)
        except OSError:  # it has just gone, which librados will tell
            return
        if exposed is not None:
            cause = f"every user of this machine may open {exposed}, so it is not used. Run: chmod o= {exposed}"
            raise NotConnectedError(_KEYRING_EXPOSED, None, cause)

    def connect_error(self, connection: rados.Rados, error: rados.Error) -> NotConnectedError:
        """Tell of what ``rados_connect`` raised."""
        number = errno_of(error)
        hosts = connection.conf_get("mon_host")
        searched = keyrings(connection)
        found = _first(searched)
        has_key = bool(connection.conf_get("key") or connection.conf_get("keyfile"))
        if number == errno.ENOENT and not self._names_monitors(hosts):
            return NotConnectedError(_NO_MONITORS, number, self._without_monitors(found, searched))
        if number == errno.EINVAL or (number == errno.ENOENT and (has_key or found is not None)):
            cause = f"an option in {self.conf} is not valid, or its mon_host, {hosts}, cannot be resolved"
            return NotConnectedError(_CONF, number, f"{cause}. librados says more in the lines before this one.")
        if number in {errno.ENOENT, errno.EPERM, errno.EACCES} and not has_key:
            problem = self._problem_of_keyring(found, searched)
            if problem is not None:
                return NotConnectedError(problem[0], number, problem[1])
        if number in {errno.EPERM, errno.EACCES}:
            return NotConnectedError(_AUTH, number, self._refused(found))
        if number in {errno.EIO, errno.EISDIR} and not has_key and searched:
            return NotConnectedError(
                _KEYRING_UNREADABLE, number, f"{found or searched[0]} is not a keyring. Replace it."
            )
        return NotConnectedError(UNREACHABLE, number, self._unreachable(hosts, number))

    def _key(self, name: str) -> str:
        return f"scopes.{self.scope}.{name}"

    def _names_monitors(self, hosts: str | None) -> bool:
        try:
            return bool(hosts) or _MONITOR_SECTION.search(self.conf.read_text(errors="replace")) is not None
        except OSError:
            return False

    def _without_monitors(self, found: Path | None, searched: Sequence[Path]) -> str:
        besides = "" if found is not None or not searched else f" {self.client} has no keyring either."
        return f"{self.conf} names no monitor, and neither does the DNS. Set mon_host in it.{besides}"

    def _problem_of_keyring(self, found: Path | None, searched: Sequence[Path]) -> tuple[Meaning, str] | None:
        """Say what is wrong with the keyring, if it is at fault."""
        if found is None:
            places = " or ".join(map(str, searched)) or "any place"
            return _KEYRING_MISSING, (
                f"there is no keyring at {places}. Put the user's there, readable for the server alone "
                f"(ceph auth get {self.client}), or name it in {self._key('keyring')}."
            )
        try:
            content = found.read_text(errors="replace")
        except OSError as problem:
            return _KEYRING_UNREADABLE, f"{found} cannot be read: {problem.strerror}. Make it readable for the server."
        if f"[{self.client}]" not in content:
            return _KEYRING_MISSING, (
                f"{found} has no key for {self.client}. Add it (ceph auth get {self.client}), or correct "
                f"{self._key('client')} or {self._key('keyring')}."
            )
        return None

    def _refused(self, found: Path | None) -> str:
        where = "" if found is None else f" in {found}"
        return (
            f"the monitors refuse the user with the key{where}. Compare with: ceph auth get {self.client}. "
            "(A clock that is wrong by minutes is refused too.)"
        )

    def _unreachable(self, hosts: str | None, number: int | None) -> str:
        where = f" at {hosts}" if hosts else ""
        if number == errno.ETIMEDOUT:
            return (
                f"no monitor{where} has answered for {self.timeout} s, and calls are refused until one does. "
                f"Find out why: ceph --conf {self.conf} --name {self.client} status"
            )
        what = os.strerror(number) if number else "for an unknown reason"
        return f"the monitors{where} cannot be reached: {what}."


def _first(paths: Sequence[Path]) -> Path | None:
    """Give the first that is there."""
    return next((path for path in paths if os.path.exists(path)), None)  # noqa: PTH110 - which raises nothing
