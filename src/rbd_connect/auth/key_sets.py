"""JWK sets (RFC 7517): the keys in them that verify signatures, each for the algorithms for which it may be used."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jwt import PyJWK

__all__ = ["KeySet", "KeysError", "read_keys"]

_log = logging.getLogger(__name__)

_MOST_KEYS = 100

# By the key's id and the algorithm: a key whose set does not say for which it is, is for each that fits its type.
KeySet = Mapping[tuple[str | None, str], PyJWK]

# https://www.rfc-editor.org/rfc/rfc7518#section-6 and https://www.rfc-editor.org/rfc/rfc8037#section-2
_SECRET = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class KeysError(Exception):
    """The keys cannot be had. Its text is for the log."""


def read_keys(content: bytes, algorithms: Sequence[str], source: str) -> KeySet:
    """Read a JWK set. Raises KeysError where no key in it verifies signatures by one of the algorithms."""
    try:
        found = json.loads(content)["keys"]
        keys = dict(_verifying([one for one in found[:_MOST_KEYS] if isinstance(one, dict)], algorithms, source))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise KeysError("it is no JWK set") from error
    if not keys:
        raise KeysError(f"it has no key that verifies signatures by {' or '.join(algorithms)}")
    return keys


def _verifying(
    found: Sequence[Mapping[str, Any]], algorithms: Sequence[str], source: str
) -> Iterator[tuple[tuple[str | None, str], PyJWK]]:
    """Leave out the keys that are for something else, or unknown; and those that are secrets, or were."""
    for one in found:
        if not _SECRET.isdisjoint(one):
            _log.error(
                "%s shows a secret: its key %r is not used, since anybody may sign by it", source, one.get("kid")
            )
            continue
        for algorithm in algorithms:
            try:
                if _is_for(one, algorithm):
                    yield (one.get("kid"), algorithm), PyJWK(dict(one), algorithm)
            except Exception:  # noqa: BLE001, S112 - whatever is wrong with it, it is no key
                continue


def _is_for(one: Mapping[str, Any], algorithm: str) -> bool:
    """Say whether a key verifies signatures by an algorithm."""
    is_for_signatures = one.get("use", "sig") == "sig" and "verify" in one.get("key_ops", ["verify"])
    return is_for_signatures and isinstance(one.get("kid"), str | None) and _fits(one, algorithm)


def _fits(one: Mapping[str, Any], algorithm: str) -> bool:
    """Say whether a key is for an algorithm: by its own word, or else by its type."""
    if one.get("alg", algorithm) != algorithm:
        return False
    match algorithm[:2]:
        case "RS" | "PS":
            return one.get("kty") == "RSA"
        case "ES":
            return one.get("kty") == "EC" and one.get("crv") == _CURVES.get(algorithm)
        case _:
            return one.get("kty") == "OKP"
