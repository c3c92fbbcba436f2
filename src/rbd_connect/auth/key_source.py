"""Where an issuer's keys are fetched: the URL of the settings, or the one that the issuer tells itself.

https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
"""

import json
from typing import Any

import pyqwest

from rbd_connect.config.access import IssuerSettings, is_safe_url

from .key_sets import KeysError

__all__ = ["KeySource"]

_PATIENCE_SECONDS = 5.0
_MOST_BYTES = 1 << 20
_DISCOVERY = "/.well-known/openid-configuration"
# An address of which nothing is ever asked: with a proxy of our own, those that the environment names are left alone.
_NOWHERE = "http://127.0.0.1:9"


class KeySource:
    """One issuer's. For one event loop."""

    def __init__(self, settings: IssuerSettings) -> None:
        self._settings = settings
        authority = settings.jwks_ca.read_bytes() if settings.jwks_ca else None
        self._client = pyqwest.Client(
            pyqwest.HTTPTransport(
                tls_ca_cert=authority,
                tls_include_system_certs=authority is None,
                proxy=settings.proxy or [pyqwest.Proxy(_NOWHERE, no_proxy="*,0.0.0.0/0,::/0")],
                timeout=_PATIENCE_SECONDS,
                follow_redirects=False,
                use_system_dns=True,
            )
        )

    async def fetch(self) -> bytes:
        """Give a JWK set as it comes. Raises KeysError."""
        try:
            return await self._get(self._settings.jwks or await self._discover())
        except KeysError:
            raise
        except Exception as error:
            raise KeysError(f"{type(error).__name__}: {error}") from error

    async def _discover(self) -> str:
        """Ask the issuer where its keys are: it must be the one that is meant, and nobody else may change them."""
        content: Any = json.loads(await self._get(self._settings.issuer.rstrip("/") + _DISCOVERY))
        if not isinstance(content, dict) or content.get("issuer") != self._settings.issuer:
            raise KeysError("what it tells of itself is of another issuer")
        address = content.get("jwks_uri")
        if not isinstance(address, str) or not is_safe_url(address):
            raise KeysError("what it tells of itself has no jwks_uri with https")
        return address

    async def _get(self, address: str) -> bytes:
        content = bytearray()
        async with self._client.stream("GET", address, {"accept": "application/json"}) as response:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise KeysError(f"{address} answers {response.status}")
            async for chunk in response.content:
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise KeysError(f"{address} sends more than {_MOST_BYTES} bytes")
        return bytes(content)
