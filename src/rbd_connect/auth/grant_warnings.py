"""Grants that can be in force and cannot be meant: for a scope, an issuer or a pool that there is not."""

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase

from rbd_connect.common.similar_names import hint
from rbd_connect.config.access import CERTIFICATE_ISSUER
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import quoted

__all__ = ["grant_doubts", "names_pools", "pool_doubts", "there_are"]

_MOST_NAMED = 10
_GLOB = frozenset("*?[")


def grant_doubts(settings: Settings, scopes: Collection[str]) -> Iterator[str]:
    """Say which grants give nothing, each with its place. No cluster is asked.

    ``scopes`` are the names of those that there are; of none, nothing is said.
    """
    if settings.with_authentication and not settings.grants:
        yield "nothing is granted to anybody: there are no [[grants]] in the settings"
    issuers = {*settings.issuers, *([CERTIFICATE_ISSUER] if settings.auth.certificate_name else ())}
    for number, grant in enumerate(settings.grants):
        for subject in grant.subjects:
            issuer, colon, _ = subject.partition(":")
            if colon and grant.issuer is None and issuer not in issuers:
                place = settings.origins.place("grants", number, "subjects")
                question = f". {hint(issuer, issuers)}".rstrip(". ")
                yield f"{place}: {quoted(subject)} is for nobody: there is no issuers.{issuer}{question}"
        for scope in grant.scopes:
            if scopes and not _matches(scope, scopes):
                place = settings.origins.place("grants", number, "scopes")
                yield f"{place}: {_told(scope)} no scope, so it grants nothing. {there_are('scopes', scope, scopes)}"
        for pool in grant.pools:
            if "/" in pool:
                place = settings.origins.place("grants", number, "pools")
                yield f"{place}: {_told(pool)} no pool, so it grants nothing. A namespace stands in namespaces"


def names_pools(settings: Settings) -> Collection[str]:
    """Return the scopes in which grants name pools that may not be there."""
    return {
        scope
        for grant in settings.grants
        for scope in _matched(grant.scopes, settings.scopes)
        if any(map(_may_be_missing, grant.pools))
    }


def pool_doubts(settings: Settings, pools: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Say which grants are for a pool that none of their scopes has, each with its place.

    ``pools`` are the names of the pools of each scope that was asked. Nothing is said of a grant for others as well.
    """
    for number, grant in enumerate(settings.grants):
        scopes = _matched(grant.scopes, settings.scopes)
        if not scopes or not pools.keys() >= scopes:
            continue
        known = sorted({pool for scope in scopes for pool in pools[scope]})
        for pool in filter(_may_be_missing, grant.pools):
            if not _matches(pool, known):
                place = settings.origins.place("grants", number, "pools")
                where = f"in {'scope' if len(scopes) == 1 else 'scopes'} {', '.join(map(quoted, sorted(scopes)))}"
                yield (
                    f"{place}: {_told(pool)} no pool {where}, so it grants nothing yet. "
                    f"{there_are('pools', pool, known)}"
                )


def there_are(kind: str, name: str, known: Collection[str]) -> str:
    """Ask which one is meant, or name those that there are."""
    if question := hint(name, known):
        return question
    names = sorted(known)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"The {kind} are {', '.join(names[:_MOST_NAMED])}{more}" if names else f"There are no {kind}"


def _may_be_missing(pool: str) -> bool:
    """Say whether a cluster is to be asked for a pool: not for a glob that means all, nor for what is no pool."""
    return bool(pool.strip("*")) and "/" not in pool


def _matched(patterns: Collection[str], names: Collection[str]) -> set[str]:
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _matches(pattern: str, names: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _told(pattern: str) -> str:
    return f"{quoted(pattern)} {'matches' if _GLOB & set(pattern) else 'is'}"
