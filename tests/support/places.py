"""States of pools and their directories, as tests want them."""

import json
import os
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ctypes import CDLL, byref, c_char_p, c_size_t, c_uint64, c_void_p, string_at

import rados

from rbd_connect.devcluster import DevCluster

from .tools import Tools
from .waiting import wait_until

__all__ = ["add_to_directory", "listed_names", "mon_command", "new_pools", "rbd_bytes", "sick"]

_AT_ONCE = 64


def rbd_bytes(cluster: DevCluster, *words: bytes, **environment: str) -> bytes:
    """Run `rbd` with names that need not be UTF-8, and give what it prints."""
    command = [b"rbd", b"--conf", os.fsencode(cluster.conf), *words]
    return subprocess.run(command, capture_output=True, check=True, env={**os.environ, **environment}).stdout


def listed_names(cluster: DevCluster, *words: bytes) -> set[bytes]:
    """The names that `rbd ls` or `rbd namespace ls` prints."""
    if b"namespace" not in words:
        return set(rbd_bytes(cluster, *words).splitlines())
    printed = rbd_bytes(cluster, *words)
    return {line.rstrip() for line in printed.splitlines()[1:]}


def add_to_directory(ioctx: rados.Ioctx, names: Iterable[bytes], *, oid: str = "rbd_directory") -> None:
    """Add names to a directory by class calls, many at a time: images that are there by halves, or namespaces."""
    waiting = list(names)
    for start in range(0, len(waiting), _AT_ONCE):
        with rados.WriteOpCtx() as change:
            for number, name in enumerate(waiting[start : start + _AT_ONCE], start):
                if oid == "rbd_directory":
                    change.execute("rbd", "dir_add_image", _string(name) + _string(b"%x" % (number + 1)))
                else:
                    change.execute("rbd", "namespace_add", _string(name))
            ioctx.operate_write_op(change, oid)


def mon_command(cluster: DevCluster, command: bytes) -> bytes:
    """Give the monitor a command of any bytes (``rados_mon_command``), as client.admin; the binding takes UTF-8."""
    librados = CDLL("librados.so.2")
    handle, output, length = c_void_p(), c_char_p(), c_size_t()
    assert librados.rados_create2(byref(handle), b"ceph", b"client.admin", c_uint64(0)) == 0
    try:
        assert librados.rados_conf_read_file(handle, os.fsencode(cluster.conf)) == 0
        assert librados.rados_connect(handle) == 0
        words = (c_char_p * 1)(command)
        answer = (byref(output), byref(length), None, None)
        assert librados.rados_mon_command(handle, words, c_size_t(1), None, c_size_t(0), *answer) == 0
        return string_at(output, length.value)
    finally:
        librados.rados_shutdown(handle)


@contextmanager
def new_pools(cluster: DevCluster, *names: str) -> Iterator[None]:
    """Have pools for a while."""
    for name in names:
        cluster.create_pool(name)
    try:
        yield
    finally:
        for name in names:
            cluster.delete_pool(name)


@contextmanager
def sick(tools: Tools, *pools: str) -> Iterator[None]:
    """Let nobody serve the placement groups of some pools: they want two OSDs, and there is one."""
    for pool in pools:
        for key in ("size", "min_size"):
            tools.ceph("osd", "pool", "set", pool, key, "2")
    wait_until(lambda: all(_inactive(tools, pool) for pool in pools))
    try:
        yield
    finally:
        for pool in pools:
            tools.ceph("osd", "pool", "set", pool, "size", "1", "--yes-i-really-mean-it")
        wait_until(lambda: not any(_inactive(tools, pool) for pool in pools))


def _inactive(tools: Tools, pool: str) -> bool:
    groups = json.loads(tools.ceph("pg", "ls-by-pool", pool, "--format", "json"))["pg_stats"]
    return bool(groups) and all("active" not in group["state"].split("+") for group in groups)


def _string(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text
