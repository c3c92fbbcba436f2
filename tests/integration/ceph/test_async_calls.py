"""Asynchronous calls that nobody waits for any more when Ceph answers: the process must outlive that."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rados

from rbd_connect import ceph
from rbd_connect.devcluster import DevCluster
from support.tools import Tools, frozen

# Begins calls, lets go of all that belongs to them, and prints how many have not ended: when begun, and at the end.
_LET_GO = """
import gc, sys, time
from functools import partial
import rados
from rbd_connect.ceph.objects.async_calls import BoundedReply, Keys, KeysReply, Reply, are_unanswered, open_handle

KINDS = {
    "bounded": lambda ioctx: BoundedReply(partial(ioctx.aio_read, "an object", 4096, 0)),
    "data": lambda ioctx: Reply(partial(ioctx.aio_read, "an object", 4096, 0)),
    "keys": lambda ioctx: KeysReply(ioctx, Keys(oid="an object", prefix="", after="", at_most=100)),
}

def begin():
    ioctx = open_handle(connection, connection.pool_lookup("rbd"))
    for _ in range(50):
        KINDS[sys.argv[2]](ioctx)

connection = rados.Rados(conffile=sys.argv[1])
connection.connect()
for _ in range(3):
    begin()
    gc.collect()
    [bytearray(size) for size in range(64, 4096, 8) for _ in range(10)]  # where something was freed, it is now another
print(are_unanswered(), flush=True)
until = time.monotonic() + 30
while are_unanswered() and time.monotonic() < until:
    time.sleep(0.01)
gc.collect()
connection.shutdown()
print(are_unanswered(), flush=True)
"""


@pytest.mark.parametrize("kind", ["bounded", "data", "keys"])
def test_calls_that_were_let_go_of_end_in_peace(cluster: DevCluster, tools: Tools, kind: str) -> None:
    with tools.ioctx() as ioctx:
        ioctx.write_full("an object", bytes(4096))
        with rados.WriteOpCtx() as write:
            ioctx.set_omap(write, ("a", "b"), (b"1", b"2"))
            ioctx.operate_write_op(write, "an object")
        command = [sys.executable, "-c", _LET_GO, str(cluster.conf), kind]
        with frozen(cluster.osd):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            with process:
                assert process.stdout is not None
                assert process.stdout.readline() == "True\n"
                cluster.osd.send_signal(signal.SIGCONT)
                assert process.stdout.read() == "False\n"
        assert process.returncode == 0
        ioctx.remove_object("an object")


def test_the_server_opens_pools_so_that_they_stay_open_for_their_calls() -> None:
    opens = [path.name for path in Path(ceph.__path__[0]).rglob("*.py") if ".open_ioctx" in path.read_text()]
    assert opens == ["async_calls.py"]
