"""Files that hold the key of a Ceph user: where librados finds them, and whether everybody may open one.

librados reads the first keyring that it can open, and ``key`` or ``keyfile`` where they are set
(``KeyRing::from_ceph_context``, src/auth/KeyRing.cc).
"""

import os
import re
from pathlib import Path

import rados

from rbd_connect.config.types import is_exposed

__all__ = ["exposed_file", "files_with_keys", "is_without_key", "keyrings"]

_SEPARATORS = re.compile("[;,]")


def files_with_keys(connection: rados.Rados) -> list[Path]:
    """Return the files that librados may read the key of a connection from (``rados_conf_get``).

    The connection need not be open.
    """
    return [*keyrings(connection), *_keyfile(connection)]


def exposed_file(connection: rados.Rados, conf: Path) -> Path | None:
    """Return the file with the key of a connection where every user of this machine may open it.

    That can be ``conf`` itself. The connection need not be open. Raises OSError for a file that has just gone.
    """
    used = [*_first_that_opens(keyrings(connection)), *_keyfile(connection)]
    key = connection.conf_get("key")
    if key and key in conf.read_text(encoding="utf-8", errors="replace"):
        used.append(conf)
    return next((path for path in used if path.is_file() and is_exposed(path)), None)


def is_without_key(connection: rados.Rados) -> bool:
    """Say whether librados finds no key although clusters want one (``auth_client_required``)."""
    if connection.conf_get("key") or "cephx" not in (connection.conf_get("auth_client_required") or ""):
        return False
    return not _first_that_opens(files_with_keys(connection))


def keyrings(connection: rados.Rados) -> list[Path]:
    """Return where librados looks for a keyring, first to last. The connection need not be open."""
    paths = _SEPARATORS.split(connection.conf_get("keyring") or "")
    return [Path(path.strip()) for path in paths if path.strip()]


def _keyfile(connection: rados.Rados) -> list[Path]:
    path = connection.conf_get("keyfile")
    return [Path(path)] if path else []


def _first_that_opens(paths: list[Path]) -> list[Path]:
    return [path for path in paths if path.is_file() and os.access(path, os.R_OK)][:1]
