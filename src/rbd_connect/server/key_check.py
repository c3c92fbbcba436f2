"""The keys of the scopes, looked at before the server listens: what is seen in files alone, without any cluster."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import rados

from rbd_connect.ceph.cluster.connection import unconnected
from rbd_connect.ceph.cluster.keyrings import exposed_file, files_with_keys, is_without_key
from rbd_connect.config.cluster import ClusterConfig, scope_configs
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import StartError

__all__ = ["check_keys"]

_log = logging.getLogger(__name__)


def check_keys(settings: Settings) -> None:
    """Raise StartError where every user of this machine may open the file with a scope's key.

    The settings may name the file, or librados may find it by the scope's conf: the answer is the same. A conf that
    cannot be read, or a key that is missing, can be corrected while the server runs: the log warns of them.
    """
    for config in scope_configs(settings):
        place = settings.origins.place("scopes", config.scope)
        try:
            _check(config, place)
        except (rados.Error, OSError) as error:
            _log.warning("%s: %s cannot be read as a ceph.conf, so calls fail: %s", place, config.conf, error)


@contextmanager
def _as_it_was(stream: TextIO | None) -> Iterator[None]:
    """Undo that librados has standard error not block where it is a pipe (``Log::Log``, src/log/Log.cc)."""
    if stream is None:
        yield
        return
    was = os.get_blocking(stream.fileno())
    try:
        yield
    finally:
        os.set_blocking(stream.fileno(), was)


def _check(config: ClusterConfig, place: str) -> None:
    """Raise StartError as ``check_keys`` does; rados.Error or OSError where a file cannot be read."""
    with _as_it_was(sys.stderr):
        connection = unconnected(config)
    try:
        exposed = exposed_file(connection, config.conf)
        if exposed is not None:
            raise StartError(
                f"{place}: every user may open {exposed}, where librados finds the key of {config.client}; say: "
                f"chmod o= {exposed}"
            )
        if is_without_key(connection):
            looked = ", ".join(map(str, files_with_keys(connection)))
            _log.warning(
                "%s: there is no key of %s, so calls fail if the cluster wants one. librados looks for it in %s",
                place,
                config.client,
                looked,
            )
    finally:
        connection.shutdown()
