"""The secrets of a run, and where they must not be: in no log, no audit, no answer and no process list."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["SECRETS", "check_answer", "check_files", "check_processes"]

# Whatever was made as a secret in this run, Ceph's keys excepted, which stand in keyrings.
SECRETS: set[str] = set()

_LOGS = ("*.log", "*.log.*", "*.1", "*.out")


def check_answer(content: bytes) -> None:
    """Fail where an answer shows a secret."""
    assert not _found(content), "an answer shows a secret"


def check_files(folder: Path) -> None:
    """Fail where a log or an audit anywhere below a folder shows a secret, or a key of one of its keyrings."""
    keys = {key.encode() for path in folder.rglob("*.keyring") for key in re.findall(r"key = (\S+)", path.read_text())}
    assert keys, "no keyring was found, so the search is worth nothing"
    logs = [path for pattern in _LOGS for path in folder.rglob(pattern) if path.is_file()]
    assert logs, "no log was found, so the search is worth nothing"
    showing = [path for path in logs if _found(path.read_bytes()) or any(key in path.read_bytes() for key in keys)]
    assert not showing, f"{showing} show secrets"


def check_processes(*processes: int) -> None:
    """Fail where the process list shows a secret with one of these processes."""
    for process in processes:
        for shown in _shown(process):
            assert not _found(shown), f"process {process} shows a secret"


def _shown(process: int) -> Iterator[bytes]:
    for name in ("cmdline", "environ", "comm"):
        # It has ended meanwhile; or it shows nothing to other processes, nor to this one.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            yield Path("/proc", str(process), name).read_bytes()


def _found(content: bytes) -> bool:
    return any(secret.encode() in content for secret in SECRETS if secret)
