"""What is granted: subjects and claims -> actions on scopes, pools, namespaces and images. Nothing else is.

Arithmetic only. What one may not see is answered as what does not exist, before anything of Ceph is touched: so no
answer depends on whether it does.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase, translate
from typing import Any

from connectrpc.code import Code

from rbd_connect.config.access import Action, GrantSettings
from rbd_connect.model.errors import ServiceError
from rbd_connect.model.names import ImageSpec, ScopeSpec
from rbd_connect.model.not_found import no_image, no_namespace, no_pool, no_scope

from .identity import Identity

__all__ = ["EVERYTHING", "Grant", "Granted", "Grants"]


_NONE = "(?!)"


# Their words stand in one string (RFC 6749, section 3.3; scp as Microsoft and Okta have it).
_OF_WORDS = ("scope", "scp")


class _Globs:
    """Names that are meant: ``*``, ``?``, ``[abc]``."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._matches = re.compile("|".join(map(translate, patterns)) or _NONE).match

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._matches(name) is not None


class _Subjects:
    """Subjects that are meant. A glob is one for the names of a single issuer: what stands before the first colon.

    Without a colon it is for those of the grant's issuer, or else for tokens: nobody that an issuer names is meant.
    """

    def __init__(self, settings: GrantSettings) -> None:
        patterns: dict[str | None, list[str]] = {}
        for subject in settings.subjects:
            issuer, colon, name = subject.partition(":")
            is_named = bool(colon) and settings.issuer in {None, issuer}
            patterns.setdefault(issuer if is_named else settings.issuer, []).append(name if is_named else subject)
        self._globs = {issuer: _Globs(names) for issuer, names in patterns.items()}

    def have(self, identity: Identity) -> bool:
        issuer, name = identity.issuer_and_name
        globs = self._globs.get(issuer)
        return globs is not None and name in globs


class Grant:
    """One grant; ``number`` is its place among the settings, from 0."""

    def __init__(self, number: int, settings: GrantSettings) -> None:
        self.number = number
        self._settings = settings
        self._subjects = _Subjects(settings)
        self.scopes = _Globs(settings.scopes)
        self.pools = _Globs(settings.pools)
        self.namespaces = _Globs(settings.namespaces)
        self.images = _Globs(settings.images)

    def is_to(self, identity: Identity) -> bool:
        """Say whether it is to a caller: by one of the subjects, where it names some, and by all of the claims."""
        settings = self._settings
        if settings.subjects and not self._subjects.have(identity):
            return False
        if settings.issuer is not None and identity.issuer != settings.issuer:
            return False
        return all(set(allowed) & _values(identity.claims, name) for name, allowed in settings.claims.items())

    def is_for(self, action: Action) -> bool:
        return any(fnmatchcase(action, allowed) for allowed in self._settings.actions)


def _values(claims: Mapping[str, Any], name: str) -> set[str]:
    """Give what a claim has: a string, or each of a list; of a scope, its words. ``a.b`` is that claim, else b in a."""
    value: Any = claims
    if name in claims:
        value = claims[name]
    else:
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str) and name.rpartition(".")[2] in _OF_WORDS:
        return set(value.split())
    values = value if isinstance(value, list) else [value]
    return {one for one in values if isinstance(one, str)}


class Granted:
    """What is granted to one caller."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        self._grants = grants

    def check(self, action: Action, spec: ScopeSpec) -> None:
        """Raise ServiceError where an action on an image is not granted, or, on a scope, is granted nowhere in it.

        NotFoundError for what the caller may not see; permission_denied for what he may not do.
        """
        if self.find(action, spec) is None:
            raise self.refusal(action, spec)

    def find(self, action: Action, spec: ScopeSpec) -> Grant | None:
        """Give the first grant for an action."""
        found = (grant for grant in self._of(spec) if grant.is_for(action))
        return next(found, None)

    def lists_pool(self, scope: str, pool: str) -> bool:
        """Say whether the pool is among those that the caller is shown."""
        return any(grant.is_for("list") and scope in grant.scopes and pool in grant.pools for grant in self._grants)

    def lists_image(self, spec: ImageSpec) -> bool:
        """Say whether the image is among those that the caller is shown."""
        return self.find("list", spec) is not None

    def sees(self, spec: ImageSpec) -> bool:
        """Say whether the caller may know that an image exists: whether anything at all is granted on it."""
        return any(True for _ in self._of(spec))

    def sees_scope(self, scope: str) -> bool:
        return any(scope in grant.scopes for grant in self._grants)

    def _of(self, spec: ScopeSpec) -> Iterator[Grant]:
        for grant in self._grants:
            if spec.scope not in grant.scopes:
                continue
            if not isinstance(spec, ImageSpec) or (
                spec.pool in grant.pools and spec.namespace in grant.namespaces and spec.image in grant.images
            ):
                yield grant

    def refusal(self, action: Action, spec: ScopeSpec) -> ServiceError:
        """Give what is told of an action that is not granted."""
        grants = [grant for grant in self._grants if spec.scope in grant.scopes]
        if not grants:
            return no_scope(spec.scope)
        if isinstance(spec, ImageSpec):
            grants = [grant for grant in grants if spec.pool in grant.pools]
            if not grants:
                return no_pool(spec.pool, spec.scope)
            grants = [grant for grant in grants if spec.namespace in grant.namespaces]
            if not grants and spec.namespace:
                return no_namespace(spec)
            # To say so of an image that is to be made would be no answer; and none exists that could be found out.
            if not any(spec.image in grant.images for grant in grants) and action != "image.create":
                return no_image(spec)
        return ServiceError(Code.PERMISSION_DENIED, "NOT_GRANTED", f"The action {action!r} is not granted to you here.")


class _Everything(Granted):
    def __init__(self) -> None:
        everywhere = GrantSettings(
            subjects=("*",), actions=("*",), scopes=("*",), pools=("*",), namespaces=("*",), images=("*",)
        )
        super().__init__([Grant(0, everywhere)])

    def lists_image(self, spec: ImageSpec) -> bool:  # noqa: ARG002 - whichever it is
        return True


EVERYTHING: Granted = _Everything()


class Grants:
    """All grants."""

    def __init__(self, settings: Iterable[GrantSettings]) -> None:
        self._grants = [Grant(number, one) for number, one in enumerate(settings)]

    def of(self, identity: Identity) -> Granted:
        """Give those that are to a caller."""
        return Granted([grant for grant in self._grants if grant.is_to(identity)])
