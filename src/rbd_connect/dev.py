"""`rbd-connect dev`: a throwaway cluster, served until Ctrl-C, with calls to paste."""

import fcntl
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import server
from .configuration import load
from .devcluster import DevCluster, DevClusterError, demo
from .errors import ListenError
from .origins import Setting
from .settings import Settings

__all__ = ["run"]

_SCOPE = "dev"
_PROCEDURE = "otterscale.storage.v1.StorageService/CreateImageSnapshot"

Say = Callable[[str], None]


def run(folder: Path | None, *, keep: bool, given: Sequence[Setting], say: Say) -> None:
    """Boot a cluster in ``folder``, or in a temporary one, and serve it.

    At the end all is stopped, and what was made is removed unless ``keep``. A cluster that was kept before is booted as
    it was left, and kept again. Raises StartError.
    """
    with (
        _signals_end_it(),
        _place(folder, keep=keep, say=say) as place,
        DevCluster(place, say=lambda text: say(f"  {text}")) as cluster,
    ):
        if cluster.command("osd lspools"):
            cluster.wait_until_clean()
        else:
            say("  making a pool, a namespace, a user, and an image with some data")
            demo.fill(cluster)
        cluster.release_admin()
        _serve(cluster, given, say)
        say("Stopping the cluster")


def _serve(cluster: DevCluster, given: Sequence[Setting], say: Say) -> None:
    """Serve on the usual ports; where one is taken and none was asked for, on another."""
    free: list[Setting] = []
    while True:
        settings = _settings(cluster, [*free, *given])
        try:
            server.serve(settings, lambda listening: _print_calls(cluster, listening, say))
        except ListenError as error:
            key = ("listen", error.listener)
            if any(setting.key == key for setting in [*free, *given]):
                raise
            say(f"  {error.address} is taken: choosing another port")
            free.append(Setting(key, f"{error.address.host}:0", "a free port"))
        else:
            return


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Leave by an exception on SIGTERM, SIGINT and SIGHUP, so that what was begun is undone.

    Python does so by itself for SIGINT alone, and not where it was started with SIGINT ignored, as shells start what
    goes to the background.
    """

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _place(folder: Path | None, *, keep: bool, say: Say) -> Iterator[Path]:
    """Give the cluster's folder, which no other run uses meanwhile.

    Remove it at the end if this run made it and is not to keep it.
    """
    kept_before = folder is not None and DevCluster(folder).was_booted_before
    if folder is not None and not kept_before and folder.exists() and any(folder.iterdir()):
        raise DevClusterError(
            f"{folder} is not empty, and holds no cluster. Name a new folder with --folder, or an empty one."
        )
    if folder is None:
        place = Path(tempfile.mkdtemp(prefix="rbd-connect-dev-"))
    else:
        place = folder
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(place):
        say(f"Booting a Ceph cluster in {place}")
        try:
            yield place
        finally:
            if keep or kept_before:
                say(f"The cluster is kept. Come back to it with: rbd-connect dev --folder {shlex.quote(str(place))}")
            else:
                shutil.rmtree(place, ignore_errors=True)
                say(f"Removed {place}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DevClusterError(
                f"another `rbd-connect dev` uses {folder}. Stop it, or name another folder with --folder."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _settings(cluster: DevCluster, given: Sequence[Setting]) -> Settings:
    key = ("scopes", _SCOPE)
    scope = [
        Setting((*key, "conf"), cluster.conf, str(cluster.folder)),
        Setting((*key, "client"), demo.CLIENT, str(cluster.folder)),
    ]
    return load([*scope, *given])


def _print_calls(cluster: DevCluster, listening: server.Listening, say: Say) -> None:
    url = f"{'https' if listening.with_tls else 'http'}://{listening.http}/{_PROCEDURE}"
    grpc_url = f"{'https' if listening.with_tls else 'http'}://{listening.grpc}/{_PROCEDURE}"
    say(f"""
Serving {demo.POOL}/{demo.IMAGE} and the namespace {demo.POOL}/{demo.NAMESPACE} as scope {_SCOPE}. Take a snapshot, from
the root of the repository:

curl --header 'Content-Type: application/json' --header 'Connect-Protocol-Version: 1' \\
  --data '{_body("first")}' \\
  {url}

.venv/bin/buf curl --schema proto \\
  --data '{_body("second")}' \\
  {url}

.venv/bin/buf curl --protocol grpc --http2-prior-knowledge \\
  --data '{_body("third")}' \\
  {grpc_url}

See what Ceph says:

rbd --conf {shlex.quote(str(cluster.conf))} du {demo.POOL}/{demo.IMAGE}

Ctrl-C stops everything.""")


def _body(snapshot: str) -> str:
    return (
        f'{{"scope": "{_SCOPE}", "poolName": "{demo.POOL}", "imageName": "{demo.IMAGE}", "snapshotName": "{snapshot}"}}'
    )
