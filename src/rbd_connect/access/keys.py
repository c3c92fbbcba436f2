"""The public keys of an issuer (RFC 7517): from a file, or from a URL, kept, and fetched anew where one is missing."""

import asyncio
import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from reprlib import repr as short  # of what a caller sent, the beginning is enough
from typing import Any

import pyqwest
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ..errors import StartError
from .identity import NotBelievedError
from .settings import IssuerSettings

__all__ = ["Keys"]

_log = logging.getLogger(__name__)

# They are fetched in the background when they are so old, and who calls does not wait.
_FRESH_SECONDS = 300.0
# Where the issuer is gone, they stay in use for so long: it may be restarted, but a key that it revoked must go.
_MOST_SECONDS = 24 * 3600.0
# Anybody can name a key that is not known, so that is no reason to ask more often than so.
_PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_MOST_KEYS = 100

_BROKEN = (pyqwest.ReadError, pyqwest.WriteError, pyqwest.RemoteProtocolError)


class _KeysError(Exception):
    """The keys cannot be had. Its text is for the log."""


class Keys:
    """The keys of one issuer. For one event loop."""

    def __init__(self, settings: IssuerSettings) -> None:
        """Raises StartError for a file that holds none."""
        self._source = settings.jwks
        self._keys: Mapping[str | None, PyJWK] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._client: pyqwest.Client | None = None
        if "://" in settings.jwks:
            authority = settings.jwks_ca.read_bytes() if settings.jwks_ca else None
            self._client = pyqwest.Client(
                pyqwest.HTTPTransport(
                    tls_ca_cert=authority,
                    tls_include_system_certs=authority is None,
                    timeout=_PATIENCE_SECONDS,
                    follow_redirects=False,
                    use_system_dns=True,
                )
            )
        else:
            try:
                self._keys = _read(Path(settings.jwks).read_bytes())
            except (OSError, _KeysError) as error:
                raise StartError(f"{settings.jwks}: cannot be used: {error}.") from error

    async def find(self, key_id: str | None) -> PyJWK:
        """Give the key of an id; without an id, the only one. Raises NotBelievedError where there is none."""
        if self._client is not None:
            await self._renew(waiting_for=key_id)
        return self._find(key_id)

    def _find(self, key_id: str | None) -> PyJWK:
        key = self._keys.get(key_id)
        if key is None and key_id is None and len(self._keys) == 1:
            (key,) = self._keys.values()
        if key is None:
            raise NotBelievedError(f"{self._source} has no key {short(key_id)}")
        return key

    async def _renew(self, waiting_for: str | None) -> None:
        """Fetch the keys where they are old, or lack one. Wait for it only where there is nothing else to do."""
        now = time.monotonic()
        if now - self._fetched > _MOST_SECONDS:
            self._keys = {}
        is_missing = not self._keys or (waiting_for is not None and waiting_for not in self._keys)
        is_due = is_missing or now - self._fetched > _FRESH_SECONDS
        if self._fetching is None and is_due and now - self._tried > _PAUSE_SECONDS:
            self._tried = now
            self._fetching = asyncio.create_task(self._fetch())
        if is_missing and self._fetching is not None:
            await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            self._keys = _read(await self._get())
            self._fetched = time.monotonic()
        except (_KeysError, OSError, *_BROKEN) as error:
            _log.error("the keys of %s cannot be had: %s; those that are known stay in use", self._source, error)
        finally:
            self._fetching = None

    async def _get(self) -> bytes:
        assert self._client is not None  # noqa: S101 - there is one where there is a URL
        content = bytearray()
        async with self._client.stream("GET", self._source, {"accept": "application/json"}) as response:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise _KeysError(f"it answers {response.status}")
            async for chunk in response.content:
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise _KeysError(f"it sends more than {_MOST_BYTES} bytes")
        return bytes(content)


def _read(content: bytes) -> dict[str | None, PyJWK]:
    """Read a JWK set. Raises _KeysError where there is no key in it that verifies signatures."""
    try:
        found = json.loads(content)["keys"]
        keys = {key.key_id: key for key in _verifying(found[:_MOST_KEYS])}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _KeysError("it is no JWK set") from error
    if not keys:
        raise _KeysError("it has no key that verifies signatures")
    return keys


def _verifying(found: list[dict[str, Any]]) -> Iterator[PyJWK]:
    """Leave out the keys that are for something else, or unknown; and those that are shared secrets."""
    for one in found:
        if one.get("use", "sig") != "sig" or one.get("kty") == "oct":
            continue
        with suppress(PyJWTError, ValueError, TypeError):
            yield PyJWK(one)
