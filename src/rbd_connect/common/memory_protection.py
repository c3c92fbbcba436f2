"""The memory of a process that holds keys: no other process of the same user may read it, and no core file has it."""

import ctypes
import logging
import os
import resource

__all__ = ["keep_memory_secret"]

_log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4


def keep_memory_secret() -> None:
    """Let this process not be dumped or traced (``PR_SET_DUMPABLE``, prctl(2)), until it executes another program."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:  # a service manager may forbid the system call
        _log.warning("the limit for core files stays as it is, since it may not be changed: %s", error)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        _log.error("other processes may read this one's memory: %s", os.strerror(ctypes.get_errno()))
