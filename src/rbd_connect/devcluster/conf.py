"""The ceph.conf of a throwaway cluster."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Shape", "ceph_conf"]

# One node, so size 1; no more daemons than needed; nothing outside the folder is read or written. The manager ticks
# every second, since "active+clean" is known only from the OSD's reports to it.
# An OSD that was frozen for longer than the read lease (16 s) can leave a placement group laggy for ever where there is
# no replica to renew the lease with; so the lease is long.
_TEMPLATE = """\
[global]
fsid = {fsid}
mon host = {mon_host}
public addr = {address}
cluster addr = {address}
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
keyring = {folder}/$name.keyring
run dir = {folder}
crash dir = {folder}
pid file =
admin socket =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd pool default read lease ratio = 10
osd crush chooseleaf type = 0

[mon]
admin socket = {folder}/$name.asok
mon data = {folder}/$name
keyring = {folder}/$name/keyring
log file = {folder}/$name.log
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
paxos propose interval = {paxos_propose_interval}
paxos min wait = {paxos_min_wait}

[mgr]
admin socket = {folder}/$name.asok
mgr data = {folder}/$name
log file = {folder}/$name.log
mgr initial modules =
mgr pool = false
mgr tick period = 1
mgr stats period = 1

[osd]
admin socket = {folder}/$name.asok
osd data = {folder}/$name
log file = {folder}/$name.log
osd objectstore = bluestore
bluestore block size = {osd_bytes}
osd memory target = 1073741824
"""

_DEFAULT_PAXOS_MIN_WAIT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a cluster is like: the seconds between its monitors' commits, the OSD's size, the address of all daemons."""

    paxos_propose_interval: float = 1.0
    osd_bytes: int = 4 << 30
    monitors: int = 1
    address: str = "127.0.0.1"


def ceph_conf(shape: Shape, *, folder: Path, fsid: str, mon_addresses: Iterable[str]) -> str:
    """Write the ceph.conf. The monitors' wait beside the interval never exceeds it."""
    return _TEMPLATE.format(
        folder=folder,
        fsid=fsid,
        address=shape.address,
        mon_host=",".join(mon_addresses),
        paxos_propose_interval=shape.paxos_propose_interval,
        paxos_min_wait=min(_DEFAULT_PAXOS_MIN_WAIT, shape.paxos_propose_interval),
        osd_bytes=shape.osd_bytes,
    )
