"""The public keys of an issuer (RFC 7517): from a file, or from a URL, kept, and fetched anew where one is missing."""

import asyncio
import logging
import time
from pathlib import Path
from reprlib import repr as short  # of what a caller sent, the beginning is enough

from jwt import PyJWK

from rbd_connect.config.access import IssuerSettings
from rbd_connect.model.errors import StartError

from .identity import NotVerifiedError
from .key_sets import KeysError, KeySet, read_keys
from .key_source import KeySource

__all__ = ["Keys"]

_log = logging.getLogger(__name__)

# They are fetched in the background when they are so old, and who calls does not wait.
_FRESH_SECONDS = 300.0
# Where the issuer is gone, they stay in use for so long: it may be restarted, but a key that it revoked must go.
_MOST_SECONDS = 24 * 3600.0
# Anybody can name a key that is not known, or sign by another, so that is no reason to ask more often than so.
_PAUSE_SECONDS = 5.0


class Keys:
    """The keys of one issuer. For one event loop."""

    def __init__(self, settings: IssuerSettings) -> None:
        """Raises StartError for a file that holds none."""
        self._algorithms = settings.algorithms
        self._keys: KeySet = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._from: KeySource | None = None
        self._name = settings.jwks or settings.issuer
        if settings.has_keys_in_a_file:
            try:
                self._keys = read_keys(Path(self._name).read_bytes(), self._algorithms, self._name)
            except (OSError, KeysError) as error:
                raise StartError(f"{self._name}: cannot be used: {error}.") from error
        else:
            self._from = KeySource(settings)

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK:
        """Give the key of an id; without an id, the only one. Raises NotVerifiedError where there is none."""
        if self._from is not None:
            await self._renew(
                is_missing=not self._keys or (key_id is not None and (key_id, algorithm) not in self._keys)
            )
        return self._find(key_id, algorithm)

    async def find_another(self, key_id: str | None, algorithm: str, key: PyJWK) -> PyJWK:
        """Give the key that has taken the place of one which did not sign a token, under the same id.

        Raises NotVerifiedError where there is none, as far as can be found out: they are not fetched each time.
        """
        if self._from is not None:
            await self._renew(is_missing=True)
        found = self._find(key_id, algorithm)
        if found is key:
            raise NotVerifiedError(f"the key {short(key_id)} of {self._name} did not sign it")
        return found

    def _find(self, key_id: str | None, algorithm: str) -> PyJWK:
        key = self._keys.get((key_id, algorithm))
        if key is None and key_id is None:
            those = [one for (_, each), one in self._keys.items() if each == algorithm]
            key = those[0] if len(those) == 1 else None
        if key is None:
            raise NotVerifiedError(f"{self._name} has no key {short(key_id)} for {algorithm}")
        return key

    async def _renew(self, *, is_missing: bool) -> None:
        """Fetch the keys where they are old, or lack one. Wait for it only where there is nothing else to do."""
        now = time.monotonic()
        if now - self._fetched > _MOST_SECONDS:
            self._keys = {}
        is_due = is_missing or not self._keys or now - self._fetched > _FRESH_SECONDS
        if self._fetching is None and is_due and now - self._tried > _PAUSE_SECONDS:
            self._tried = now
            self._fetching = asyncio.create_task(self._fetch())
        if (is_missing or not self._keys) and self._fetching is not None:
            await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        assert self._from is not None  # noqa: S101 - there is one where there is no file
        try:
            self._keys = self._kept(read_keys(await self._from.fetch(), self._algorithms, self._name))
            self._fetched = time.monotonic()
        except KeysError as error:
            _log.error("the keys of %s cannot be had: %s; those that are known stay in use", self._name, error)
        finally:
            self._fetching = None

    def _kept(self, renewed: KeySet) -> KeySet:
        """Give keys that are the same as before as the objects that they were."""
        before = {name: key for name, key in self._keys.items() if name in renewed}
        return {
            name: before[name] if name in before and _material(before[name]) == _material(key) else key
            for name, key in renewed.items()
        }


def _material(key: PyJWK) -> object:
    return key.key.public_numbers() if hasattr(key.key, "public_numbers") else key.key.public_bytes_raw()
