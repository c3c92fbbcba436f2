"""Tokens, issuers, grants and limits anew, without a restart: on SIGHUP, or when a file that has them has changed.

All of them or none: where something is wrong, what was in force stays so, and the log says what.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .access.policy import Policy
from .configuration import ConfigurationError
from .errors import StartError
from .files import Files
from .settings import Settings

__all__ = ["Source", "reloading"]

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_RELOADED = ("auth", "issuers", "grants", "subjects")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the settings can be read again: ``config`` is their file, if there is one. ``read`` raises StartError."""

    config: Path | None
    read: Callable[[], Settings]


@asynccontextmanager
async def reloading(policy: Policy, settings: Settings, source: Source) -> AsyncIterator[None]:
    """Do so while inside. ``settings`` are those that ``policy`` was made of."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    task = asyncio.create_task(_Reloading(policy, settings, source).run(asked))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        loop.remove_signal_handler(signal.SIGHUP)


class _Reloading:
    def __init__(self, policy: Policy, settings: Settings, source: Source) -> None:
        self._policy = policy
        self._settings = settings
        self._source = source
        self._files = self._look()

    async def run(self, asked: asyncio.Event) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), _LOOK_SECONDS)
            if asked.is_set() or self._files.have_changed():
                asked.clear()
                self._reload()

    def _paths(self) -> set[Path]:
        paths = {self._source.config, self._settings.auth.tokens}
        paths |= {Path(issuer.jwks) for issuer in self._settings.issuers.values() if "://" not in issuer.jwks}
        return {path for path in paths if path is not None}

    def _look(self) -> Files:
        files = Files()
        files.look_at(*self._paths())
        return files

    def _reload(self) -> None:
        paths = self._paths()
        self._files = self._look()
        try:
            new = self._source.read()
            self._replace(new)
        except StartError as error:
            _log.error("reload: %s What was in force stays so", error)
            return
        if self._paths() - paths:  # which may have changed between being read and being looked at
            self._reload()
            return
        others = [
            name
            for name in Settings.model_fields
            if name not in _RELOADED and getattr(new, name) != getattr(self._settings, name)
        ]
        note = f"; what changed in {', '.join(others)} waits for a restart" if others else ""
        _log.info("reload: tokens, issuers, grants and limits were read anew%s", note)

    def _replace(self, new: Settings) -> None:
        """Put in force what can be. It must be safe with the rest as that is, which may not be what is written now."""
        settings = self._settings.model_copy(update={name: getattr(new, name) for name in _RELOADED})
        for danger in settings.dangers():
            raise ConfigurationError(f"{danger}.")
        self._policy.replace(settings)
        self._settings = settings
