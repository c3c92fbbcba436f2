"""DevCluster: one mon, one mgr, one OSD as plain processes in a folder of their own, cephx on."""

import json
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import rados

from .conf import ceph_conf
from .daemons import Daemon, DevClusterError, deferred_signals, run

__all__ = ["DaemonName", "DevCluster"]

DaemonName = Literal["mon", "mgr", "osd"]

_BOOT_SECONDS = 60
_COMMAND_SECONDS = 30
_POLL_SECONDS = 0.05
_ADMIN = "client.admin"
_COMMANDS: Mapping[DaemonName, Sequence[str]] = {
    "mon": ("ceph-mon", "-i", "a"),
    "mgr": ("ceph-mgr", "-i", "x"),
    "osd": ("ceph-osd", "-i", "0"),
}
_CAPS: Mapping[str, Mapping[str, str]] = {
    "mon.": {"mon": "allow *"},
    _ADMIN: {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
}


class DevCluster:
    """A throwaway Ceph cluster. As a context manager it boots, and stops at the end; what is in its folder stays.

    A folder that holds one already is booted as it was left. Raises DevClusterError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        paxos_propose_interval: float = 1.0,
        osd_bytes: int = 4 << 30,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.folder = folder.absolute()
        self.conf = self.folder / "ceph.conf"
        self.mon: Daemon
        self.mgr: Daemon
        self.osd: Daemon
        self._paxos_propose_interval = paxos_propose_interval
        self._osd_bytes = osd_bytes
        self._say = say
        self._daemons: list[Daemon] = []
        self._admin: rados.Rados | None = None

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.stop(gracefully=False)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def was_booted_before(self) -> bool:
        """Say whether the folder holds a cluster."""
        return self._fsid_file.exists()

    def stop(self, *, gracefully: bool = True) -> None:
        """Stop the daemons, the monitor last."""
        self.release_admin()
        for daemon in reversed(self._daemons):
            daemon.stop(gracefully=gracefully)
        self._daemons.clear()

    def command(self, prefix: str, **arguments: Any) -> Any:  # noqa: ANN401 - what JSON holds
        """Give the monitor a command as client.admin (``rados_mon_command``), and return what it answers as JSON."""
        if self._admin is None:
            self._admin = self._connect_admin()
        words = json.dumps({"prefix": prefix, "format": "json", **arguments})
        status, output, text = self._admin.mon_command(words, b"", timeout=_COMMAND_SECONDS)
        if status:
            raise DevClusterError(f"`ceph {prefix}` answered {status}: {text}")
        return json.loads(output) if output.strip() else None

    def release_admin(self) -> None:
        """Close the connection of client.admin; the next command opens it again."""
        if self._admin is not None:
            self._admin.shutdown()
            self._admin = None

    def kill(self, daemon: Daemon) -> None:
        """Kill a daemon, as a power cut does. ``revive`` starts it anew."""
        daemon.stop(gracefully=False)
        self._daemons.remove(daemon)

    def revive(self, name: DaemonName) -> None:
        """Start a daemon that was killed. Return when everything is active+clean again."""
        setattr(self, name, self._start(*_COMMANDS[name]))
        self.wait_until_clean()

    def create_pool(self, name: str) -> None:
        """Create a pool for RBD. Return when it is active+clean."""
        self.command("osd pool create", pool=name)
        self.command("osd pool application enable", pool=name, app="rbd")
        self.wait_until_clean()

    def create_user(self, name: str, **caps: str) -> Path:
        """Create a Ceph user, and write its keyring where librados finds it.

        ``caps`` is by daemon: ``mon="profile rbd"``.
        """
        (user,) = self.command("auth get-or-create", entity=name, caps=[word for pair in caps.items() for word in pair])
        keyring = self._keyring(name)
        keyring.touch(mode=0o600)
        keyring.write_text(f"[{name}]\n\tkey = {user['key']}\n", encoding="utf-8")
        return keyring

    def wait_until_clean(self) -> None:
        """Return when the manager and the OSD are up and every placement group is active+clean."""

        def clean() -> bool:
            status = self.command("status")
            groups = status["pgmap"]
            states = {state["state_name"]: state["count"] for state in groups.get("pgs_by_state", [])}
            return bool(
                status["mgrmap"]["available"]
                and status["osdmap"]["num_up_osds"] == 1
                and states.get("active+clean", 0) == groups["num_pgs"] == self._placement_groups()
            )

        self._wait(clean, "the placement groups to be active+clean")

    def _boot(self) -> None:
        new = not self.was_booted_before
        fsid = str(uuid.uuid4()) if new else self._fsid_file.read_text(encoding="utf-8")
        address = f"[v2:127.0.0.1:{_free_port()}/0]"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.conf.write_text(
            ceph_conf(
                folder=self.folder,
                fsid=fsid,
                mon_address=address,
                paxos_propose_interval=self._paxos_propose_interval,
                osd_bytes=self._osd_bytes,
            ),
            encoding="utf-8",
        )
        if new:
            self._say("making keys and a monitor")
            self._make_keyrings()
            self._make_monitor(fsid, address)
        else:
            self._move_monitor(address)
        self._say("starting the monitor")
        self.mon = self._start(*_COMMANDS["mon"])
        self._wait(self._admin_connects, "the monitor to answer")
        # The manager needs seconds to load its modules, and an OSD to be made: side by side.
        self._say("starting the manager")
        self.mgr = self._start(*_COMMANDS["mgr"])
        if new:
            self._say("making an OSD")
            self._make_osd()
        self._say("starting the OSD")
        self.osd = self._start(*_COMMANDS["osd"])
        self._fsid_file.write_text(fsid, encoding="utf-8")

    def _make_keyrings(self) -> None:
        for entity, caps in _CAPS.items():
            capabilities = [word for daemon, cap in caps.items() for word in ("--cap", daemon, cap)]
            run(
                "ceph-authtool",
                "--create-keyring",
                self._keyring(entity),
                "--gen-key",
                "--name",
                entity,
                "--mode",
                "600",
                *capabilities,
            )
        everyone = self._keyring("everyone")
        run("ceph-authtool", "--create-keyring", everyone, "--mode", "600")
        for entity in _CAPS:
            run("ceph-authtool", everyone, "--import-keyring", self._keyring(entity))

    def _make_monitor(self, fsid: str, address: str) -> None:
        monmap = self.folder / "monmap"
        everyone = self._keyring("everyone")
        run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", address, monmap)
        (self.folder / "mon").mkdir()
        run("ceph-mon", *self._daemon_flags, "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", everyone)
        everyone.unlink()
        (self.folder / "mgr").mkdir()

    def _move_monitor(self, address: str) -> None:
        """Give the monitor of a kept cluster a new address: its old port may be another's by now."""
        monmap = self.folder / "monmap"
        run("ceph-mon", *self._daemon_flags, "-i", "a", "--extract-monmap", monmap)
        run("monmaptool", "--rm", "a", monmap)
        run("monmaptool", "--addv", "a", address, monmap)
        run("ceph-mon", *self._daemon_flags, "-i", "a", "--inject-monmap", monmap)

    def _make_osd(self) -> None:
        identity = str(uuid.uuid4())
        self.command("osd new", uuid=identity)
        (self.folder / "osd").mkdir()
        run("ceph-osd", *self._daemon_flags, "-i", "0", "--mkfs", "--osd-uuid", identity)

    def _start(self, *command: str) -> Daemon:
        with deferred_signals():
            daemon = Daemon([*command, *self._daemon_flags], self.folder / f"{command[0]}.out")
            self._daemons.append(daemon)
        return daemon

    def _connect_admin(self) -> rados.Rados:
        admin = rados.Rados(conffile=str(self.conf), name=_ADMIN, conf={"client_mount_timeout": "2"})
        try:
            admin.connect()
        except rados.Error:
            admin.shutdown()
            raise
        return admin

    def _admin_connects(self) -> bool:
        try:
            self.command("fsid")
        except rados.TimedOut:
            return False
        return True

    def _placement_groups(self) -> int:
        """Count the placement groups that the pools call for; the manager's own count lags behind."""
        return sum(pool["pg_num"] for pool in self.command("osd dump")["pools"])

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        self._say(f"waiting for {what}")
        deadline = time.monotonic() + _BOOT_SECONDS
        while not condition():
            for daemon in self._daemons:
                daemon.check()
            if time.monotonic() > deadline:
                raise DevClusterError(
                    f"waited {_BOOT_SECONDS} s in vain for {what}; the daemons' logs are in {self.folder}"
                )
            time.sleep(_POLL_SECONDS)

    def _keyring(self, entity: str) -> Path:
        return self.folder / f"{entity}.keyring"

    @property
    def _daemon_flags(self) -> tuple[str | Path, ...]:
        """What every daemon is started with. In the foreground even for --mkfs: it forks otherwise, and outlives us."""
        return ("--conf", self.conf, "--foreground")

    @property
    def _fsid_file(self) -> Path:
        return self.folder / "fsid"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
