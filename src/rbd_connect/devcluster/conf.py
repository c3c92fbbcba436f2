"""The ceph.conf of a throwaway cluster."""

from pathlib import Path

__all__ = ["ceph_conf"]

# One node, so size 1; no more daemons than needed; nothing outside the folder is read or written. One OSD reports every
# second, since
# "active+clean" is known only from its reports.
_TEMPLATE = """\
[global]
fsid = {fsid}
mon host = {mon_address}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
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
osd crush chooseleaf type = 0

[mon]
admin socket = {folder}/$name.asok
mon data = {folder}/mon
log file = {folder}/mon.log
mon allow pool size one = true
mon allow pool delete = true
mon warn on pool no redundancy = false
paxos propose interval = {paxos_propose_interval}
paxos min wait = {paxos_min_wait}

[mgr]
admin socket = {folder}/$name.asok
mgr data = {folder}/mgr
log file = {folder}/mgr.log
mgr initial modules =
mgr pool = false
mgr tick period = 1
mgr stats period = 1

[osd]
admin socket = {folder}/$name.asok
osd data = {folder}/osd
log file = {folder}/osd.log
osd objectstore = bluestore
bluestore block size = {osd_bytes}
osd memory target = 1073741824
"""

_DEFAULT_PAXOS_MIN_WAIT = 0.05


def ceph_conf(*, folder: Path, fsid: str, mon_address: str, paxos_propose_interval: float, osd_bytes: int) -> str:
    """Write the ceph.conf. ``paxos_propose_interval`` is in seconds; the wait beside it never exceeds it."""
    return _TEMPLATE.format(
        folder=folder,
        fsid=fsid,
        mon_address=mon_address,
        paxos_propose_interval=paxos_propose_interval,
        paxos_min_wait=min(_DEFAULT_PAXOS_MIN_WAIT, paxos_propose_interval),
        osd_bytes=osd_bytes,
    )
