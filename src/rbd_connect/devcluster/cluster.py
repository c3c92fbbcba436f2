"""DevCluster: monitors, one mgr, one OSD as plain processes in a folder of their own, cephx on."""

import json
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from string import ascii_lowercase
from types import TracebackType
from typing import Any, Self

import rados

from .conf import Shape, ceph_conf
from .daemons import Daemon, DevClusterError, deferred_signals, run

__all__ = ["DevCluster"]

_BOOT_SECONDS = 60
_COMMAND_SECONDS = 30
_MOST_MANAGER_STARTS = 3
_POLL_SECONDS = 0.05
_ADMIN = "client.admin"
_MGR = "mgr.x"
_OSD = "osd.0"
_CAPS: Mapping[str, Mapping[str, str]] = {
    "mon.": {"mon": "allow *"},
    _ADMIN: {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
    _MGR: {"mon": "allow profile mgr", "osd": "allow *"},
    _OSD: {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
}


class DevCluster:
    """A throwaway Ceph cluster. As a context manager it boots, and stops at the end; what is in its folder stays.

    A folder that holds one already is booted as it was left. ``daemons`` are by Ceph's names: ``mon.a`` and so on,
    ``mgr.x``, ``osd.0``. Raises DevClusterError.
    """

    def __init__(
        self,
        folder: Path,
        shape: Shape | None = None,
        *,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.folder = folder.absolute()
        self.conf = self.folder / "ceph.conf"
        self.daemons: dict[str, Daemon] = {}
        self._shape = shape or Shape()
        self.monitors = [f"mon.{letter}" for letter in ascii_lowercase[: self._shape.monitors]]
        self._say = say
        self._epochs_before: Mapping[str, int] = {}
        self._admin: rados.Rados | None = None
        self._manager_starts = 1

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
    def mon(self) -> Daemon:
        """The first monitor."""
        return self.daemons[self.monitors[0]]

    @property
    def osd(self) -> Daemon:
        """The OSD."""
        return self.daemons[_OSD]

    @property
    def was_booted_before(self) -> bool:
        """Say whether the folder holds a cluster."""
        return self._fsid_file.exists()

    def stop(self, *, gracefully: bool = True) -> None:
        """Stop the daemons, the monitors last."""
        self.release_admin()
        for name in sorted(self.daemons, key=self.monitors.__contains__):
            self.daemons[name].stop(gracefully=gracefully)
        self.daemons.clear()

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

    def kill(self, *names: str) -> None:
        """Kill daemons, as a power cut does. ``revive`` starts them anew."""
        self._epochs_before = self._epochs()
        for name in names:
            self.daemons.pop(name).stop(gracefully=False)

    def revive(self, *names: str) -> None:
        """Start daemons that were killed. Return when everything is active+clean again."""
        for name in names:
            self._start(name)
        kinds = {name.partition(".")[0] for name in names}

        def all_came_back() -> bool:
            return all(now > self._epochs_before[kind] for kind, now in self._epochs().items() if kind in kinds)

        # Until the monitors have noticed, they say that nothing has happened.
        self._wait(all_came_back, f"{', '.join(names)} to come back")
        self.wait_until_clean()

    def create_pool(self, name: str) -> None:
        """Create a pool for RBD. Return when it is active+clean."""
        self.command("osd pool create", pool=name)
        self.command("osd pool application enable", pool=name, app="rbd")
        self.wait_until_clean()

    def delete_pool(self, name: str) -> None:
        """Delete a pool, and all that is in it."""
        self.command("osd pool delete", pool=name, pool2=name, yes_i_really_really_mean_it=True)

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
        """Return when all monitors, the manager and the OSD are up, and every placement group is active+clean."""

        def clean() -> bool:
            status = self.command("status")
            groups = status["pgmap"]
            # They are also where they are scrubbed, or rid of what snapshots left: active+clean+snaptrim.
            states = groups.get("pgs_by_state", [])
            number = sum(state["count"] for state in states if state["state_name"].startswith("active+clean"))
            return bool(
                len(status["quorum"]) == len(self.monitors)
                and status["mgrmap"]["available"]
                and status["osdmap"]["num_up_osds"] == 1
                and number == groups["num_pgs"] == self._placement_groups()
            )

        self._wait(clean, "the placement groups to be active+clean")

    def _boot(self) -> None:
        new = not self.was_booted_before
        fsid = str(uuid.uuid4()) if new else self._fsid_file.read_text(encoding="utf-8")
        addresses = dict(zip(self.monitors, self._free_addresses(), strict=True))
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.conf.write_text(
            ceph_conf(self._shape, folder=self.folder, fsid=fsid, mon_addresses=addresses.values()),
            encoding="utf-8",
        )
        if new:
            self._say("making keys and a monitor")
            self._make_keyrings()
            self._make_monitors(fsid, addresses)
        else:
            self._move_monitors(addresses)
        self._say("starting the monitor")
        for name in self.monitors:
            self._start(name)
        self._wait(self._admin_connects, "the monitor to answer")
        # The manager needs seconds to load its modules, and an OSD to be made: side by side.
        self._say("starting the manager")
        self._start(_MGR)
        if new:
            self._say("making an OSD")
            self._make_osd()
        self._say("starting the OSD")
        self._start(_OSD)
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

    def _make_monitors(self, fsid: str, addresses: Mapping[str, str]) -> None:
        monmap = self.folder / "monmap"
        everyone = self._keyring("everyone")
        run("monmaptool", "--create", "--clobber", "--fsid", fsid, *_added(addresses), monmap)
        for name in addresses:
            (self.folder / name).mkdir()
            run("ceph-mon", *self._flags(name), "--mkfs", "--monmap", monmap, "--keyring", everyone)
        everyone.unlink()
        (self.folder / _MGR).mkdir()

    def _move_monitors(self, addresses: Mapping[str, str]) -> None:
        """Give the monitors of a kept cluster new addresses: their old ports may be others' by now."""
        monmap = self.folder / "monmap"
        for name in addresses:
            run("ceph-mon", *self._flags(name), "--extract-monmap", monmap)
            run("monmaptool", *(word for other in addresses for word in ("--rm", _id(other))), monmap)
            run("monmaptool", *_added(addresses), monmap)
            run("ceph-mon", *self._flags(name), "--inject-monmap", monmap)

    def _make_osd(self) -> None:
        identity = str(uuid.uuid4())
        self.command("osd new", uuid=identity)
        (self.folder / _OSD).mkdir()
        run("ceph-osd", *self._flags(_OSD), "--mkfs", "--osd-uuid", identity)

    def _start(self, name: str) -> None:
        with deferred_signals():
            tool = f"ceph-{name.partition('.')[0]}"
            self.daemons[name] = Daemon([tool, *self._flags(name)], self.folder / f"{name}.out")

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

    def _epochs(self) -> Mapping[str, int]:
        """Give numbers that rise when a monitor, or the OSD, has come back."""
        (osd,) = self.command("osd dump")["osds"]
        return {"mon": self.command("quorum_status")["election_epoch"], "osd": osd["up_from"]}

    def _placement_groups(self) -> int:
        """Count the placement groups that the pools call for; the manager's own count lags behind."""
        return sum(pool["pg_num"] for pool in self.command("osd dump")["pools"])

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        self._say(f"waiting for {what}")
        deadline = time.monotonic() + _BOOT_SECONDS
        while not condition():
            for name, daemon in list(self.daemons.items()):
                self._check(name, daemon)
            if time.monotonic() > deadline:
                raise DevClusterError(
                    f"waited {_BOOT_SECONDS} s in vain for {what}; the daemons' logs are in {self.folder}"
                )
            time.sleep(_POLL_SECONDS)

    def _check(self, name: str, daemon: Daemon) -> None:
        """Raise DevClusterError where a daemon has ended. The manager is started anew where it crashed.

        Ceph 16's crashes at times as it loads its modules, while the machine is busy.
        """
        if name == _MGR and daemon.has_crashed and self._manager_starts < _MOST_MANAGER_STARTS:
            self._manager_starts += 1
            self._start(name)
        else:
            daemon.check()

    def _keyring(self, entity: str) -> Path:
        return self.folder / f"{entity}.keyring"

    def _flags(self, name: str) -> tuple[str | Path, ...]:
        """What a daemon is started with. In the foreground even for --mkfs: it forks otherwise, and outlives us."""
        return ("--conf", self.conf, "--foreground", "-i", _id(name))

    @property
    def _fsid_file(self) -> Path:
        return self.folder / "fsid"

    def _free_addresses(self) -> list[str]:
        """Choose an address for each monitor, as Ceph writes them; all at once, so that no two are the same."""
        with ExitStack() as probes:
            host = self._shape.address
            ports = [probes.enter_context(socket.create_server((host, 0))).getsockname()[1] for _ in self.monitors]
        return [f"[v2:{host}:{port}/0]" for port in ports]


def _id(name: str) -> str:
    return name.partition(".")[2]


def _added(addresses: Mapping[str, str]) -> list[str]:
    return [word for name, address in addresses.items() for word in ("--addv", _id(name), address)]
