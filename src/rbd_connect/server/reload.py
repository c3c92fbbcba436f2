"""Tokens, issuers, grants and limits anew, without a restart: on SIGHUP, or when a file that has them has changed.

All of them or none: where something is wrong, what was in force stays so, the log says what, and it is tried again each
second until it succeeds. The tokens' file is read by itself as well, so that no other file can keep a revocation back.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rbd_connect.auth.policy import Policy
from rbd_connect.config.file_stamps import Files, stamps
from rbd_connect.config.loading import ConfigurationError
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import StartError

from .reload_guard import check_opens_nothing

__all__ = ["Source", "reloading"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
# A file that is being written is left alone: it is read when it has been the same for so long.
_STILL_SECONDS = 0.2
_REMIND_SECONDS = 60.0
_RELOADED = ("auth", "issuers", "grants", "subjects")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the settings can be read again: ``config`` is their file, if there is one. ``read`` raises StartError.

    ``warn`` says in the log what is given and means nothing; it is called once settings are in force.
    """

    config: Path | None
    read: Callable[[], Settings]
    warn: Callable[[], None] = lambda: None


@asynccontextmanager
async def reloading(
    policy: Policy, settings: Settings, source: Source, on_reload: Callable[[Settings], None]
) -> AsyncIterator[None]:
    """Do so while inside. ``settings`` are those that ``policy`` was made of.

    ``on_reload`` is given those that are in force after each reload.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    task = asyncio.create_task(_Reloading(policy, settings, source, on_reload).run(asked))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        loop.remove_signal_handler(signal.SIGHUP)


class _Attempts:
    """Reading something anew: tried when its files have changed, and then until it succeeds."""

    def __init__(self, paths: Callable[[], set[Path]]) -> None:
        self._paths = paths
        self._files = self._look()
        self._failed = False
        self._problem = ""
        self._said = float("-inf")

    def are_due(self) -> bool:
        return self._failed or self._files.have_changed()

    async def are_still(self) -> bool:
        """Say whether the files have not changed for a moment."""
        before = stamps(*self._paths())
        await asyncio.sleep(_STILL_SECONDS)
        return before == stamps(*self._paths())

    def make(self, read: Callable[[], None]) -> bool:
        """Try once, and say whether it succeeded. A problem is said when it is new, and each minute."""
        paths = self._paths()
        self._files = self._look()  # before they are read
        try:
            read()
        except StartError as error:
            self._failed = True
            self._say(str(error))
            return False
        except Exception:  # noqa: BLE001 - whatever it is, it is tried again
            self._failed = True
            if self._is_to_be_said("unforeseen"):
                _log.exception("reload: failed in a way that nobody foresaw. What was in force stays so")
            return False
        self._failed, self._problem = False, ""
        # Files that were not looked at may have changed between being read and now.
        return self.make(read) if self._paths() - paths else True

    def _say(self, problem: str) -> None:
        if self._is_to_be_said(problem):
            _log.error("reload: %s What was in force stays so, and this is tried again until it succeeds", problem)

    def _is_to_be_said(self, problem: str) -> bool:
        now = time.monotonic()
        is_new = problem != self._problem or now - self._said > _REMIND_SECONDS
        if is_new:
            self._problem, self._said = problem, now
        return is_new

    def _look(self) -> Files:
        files = Files()
        files.look_at(*self._paths())
        return files


class _Reloading:
    def __init__(
        self, policy: Policy, settings: Settings, source: Source, on_reload: Callable[[Settings], None]
    ) -> None:
        self._policy = policy
        self._on_reload = on_reload
        self._settings = settings
        self._source = source
        # What comes by a pipe, as the shell's <(command) does, can be read once only.
        self._config = source.config if source.config is not None and source.config.is_file() else None
        self._text = self._read_text()
        self._whole = _Attempts(self._paths)
        self._tokens = _Attempts(self._tokens_paths)

    async def run(self, asked: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _LOOK_SECONDS)
            is_asked = asked.is_set()
            asked.clear()
            if self._tokens.are_due():
                self._reload_tokens()
            if is_asked or (self._whole.are_due() and await self._whole.are_still()):
                self._reload_all()

    def _paths(self) -> set[Path]:
        jwks = {Path(str(issuer.jwks)) for issuer in self._settings.issuers.values() if issuer.has_keys_in_a_file}
        return jwks | ({self._config} if self._config is not None else set())

    def _tokens_paths(self) -> set[Path]:
        path = self._settings.auth.tokens
        return set() if path is None else {path}

    def _reload_all(self) -> None:
        if not self._whole.make(self._reload):
            self._reload_tokens()

    def _reload_tokens(self) -> None:
        def read() -> None:
            self._policy.renew_tokens()
            _log.info("reload: the tokens were read anew")

        if self._tokens_paths():
            self._tokens.make(read)

    def _read_text(self) -> str:
        """Give the file of the settings as it is; "" where there is none, or where it cannot be read."""
        if self._config is None or not self._config.is_file():
            return ""
        try:
            return self._config.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _reload(self) -> None:
        """Raises StartError."""
        if self._source.config is not None and not self._source.config.is_file():
            raise ConfigurationError(f"{self._source.config}: there is no file that can be read again.")
        text = self._read_text()
        new = self._source.read()
        if text != self._read_text():
            raise ConfigurationError(f"{self._source.config}: is being written.")
        check_opens_nothing(self._settings, new, was=self._text, now=text)
        self._replace(new)
        self._text = text
        others = [
            name
            for name in Settings.model_fields
            if name not in _RELOADED and getattr(new, name) != getattr(self._settings, name)
        ]
        note = f"; what changed in {', '.join(others)} waits for a restart" if others else ""
        _log.info("reload: tokens, issuers, grants and limits were read anew%s", note)
        self._source.warn()
        self._on_reload(self._settings)

    def _replace(self, new: Settings) -> None:
        """Put in force what can be. It must be safe with the rest as that is, which may not be what is written now."""
        settings = self._settings.replaced(_RELOADED, new)
        for danger in settings.dangers():
            raise ConfigurationError(f"{danger}.")
        before, self._settings = self._settings, settings
        tokens = _Attempts(self._tokens_paths)  # looked at before they are read
        try:
            self._policy.replace(settings)
        except BaseException:
            self._settings = before
            raise
        self._tokens = tokens
