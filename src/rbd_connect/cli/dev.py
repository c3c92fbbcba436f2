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
from datetime import timedelta
from pathlib import Path

from rbd_connect.auth import tokens
from rbd_connect.config.access import GrantSettings
from rbd_connect.config.loading import load
from rbd_connect.config.origins import Setting
from rbd_connect.config.settings import Settings
from rbd_connect.devcluster import DevCluster, DevClusterError, demo
from rbd_connect.server import lifecycle as server
from rbd_connect.transport.listening import ListenError

from .dev_calls import PLACEHOLDERS, SCOPE, calls

__all__ = ["run"]

_SUBJECT = "rbd-connect-dev"
_TOKENS = "tokens"
_AUDIT = "audit.log"
_LIFETIME = timedelta(days=1)

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
        settings, token = _with_token(settings, cluster.folder / _TOKENS)
        try:
            server.serve(settings, _Printing(cluster, settings, token, say))
        except ListenError as error:
            key = ("listen", error.listener)
            if any(setting.key == key for setting in [*free, *given]):
                raise
            say(f"  {error.address} is taken: choosing another port")
            free.append(Setting(key, f"{error.address.host}:0", "a free port"))
        else:
            return
        finally:
            (cluster.folder / _TOKENS).unlink(missing_ok=True)


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
    """Load the settings; audit's lines go to a file, so that they do not stand among the calls to paste."""
    key, origin = ("scopes", SCOPE), str(cluster.folder)
    own = [
        Setting((*key, "conf"), cluster.conf, origin),
        Setting((*key, "client"), demo.CLIENT, origin),
        Setting(("audit", "file"), cluster.folder / _AUDIT, origin),
    ]
    return load([*own, *given])


def _with_token(settings: Settings, path: Path) -> tuple[Settings, str | None]:
    """Make a token for the calls to paste, where a credential is needed, and grant it those.

    It is kept in a file of the cluster's folder, after what the settings' own file has, which stays as it is. Raises
    StartError.
    """
    if not settings.with_authentication:
        return settings, None
    token, entry = tokens.new_token(_SUBJECT, _LIFETIME)
    path.unlink(missing_ok=True)
    path.touch(0o600)
    if settings.auth.tokens is not None:
        tokens.read(settings.auth.tokens)
        path.write_bytes(settings.auth.tokens.read_bytes())
    tokens.add(path, entry)
    grant = GrantSettings(
        subjects=(_SUBJECT,), actions=("list", "create"), scopes=(SCOPE,), pools=(demo.POOL,), images=(demo.IMAGE,)
    )
    auth = settings.auth.model_copy(update={"tokens": path})
    return settings.model_copy(update={"auth": auth, "grants": (*settings.grants, grant)}), token


class _Printing:
    """Prints calls to paste once the server listens."""

    def __init__(self, cluster: DevCluster, settings: Settings, token: str | None, say: Say) -> None:
        self._cluster = cluster
        self._settings = settings
        self._token = token
        self._say = say

    def __call__(self, listening: server.Listening) -> None:
        served = f"{demo.POOL}/{demo.IMAGE} and the namespace {demo.POOL}/{demo.NAMESPACE} as scope {SCOPE}"
        lines = [
            f"Serving {served}. Take a snapshot, from\nthe root of the repository:",
            *calls(self._settings, listening.http, listening.grpc, self._token),
            "See what Ceph says:",
            f"rbd --conf {shlex.quote(str(self._cluster.conf))} du {demo.POOL}/{demo.IMAGE}",
            *self._notes(),
            "Ctrl-C stops everything.",
        ]
        self._say("\n" + "\n\n".join(lines))

    def _notes(self) -> Iterator[str]:
        if self._token is not None:
            yield (
                f"The token is one of {_SUBJECT}, valid for a day, to list and create here, and in no file of yours.\n"
                "Tokens that you make now are taken after a restart."
            )
        tls = self._settings.tls
        if tls.client_ca is not None:
            certificate, key = PLACEHOLDERS
            yield (
                f"Clients must show a certificate (tls.client_ca, on {' and '.join(tls.client_ca_on)}): put one that "
                f"{tls.client_ca}\nsigned, and its key, in the place of {certificate} and {key}."
            )
        yield f"Each change is a line of {self._settings.audit.file}."
