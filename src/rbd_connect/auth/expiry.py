"""Files about access that are valid for a time: authorities of issuers' addresses, and tokens."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from rbd_connect.config.certificates import SOON, Certificates
from rbd_connect.config.settings import Settings

from .tokens import Entry

__all__ = ["authorities_that_expire", "tokens_that_expire"]

_MOST_NAMED = 5


def authorities_that_expire(settings: Settings) -> Iterator[str]:
    """Say which ``jwks_ca`` has expired, or does so within 14 days. Raises OSError for one that cannot be read."""
    now = datetime.now(UTC)
    for name, issuer in settings.issuers.items():
        if issuer.jwks_ca is not None:
            authorities = Certificates(issuer.jwks_ca, issuer.jwks_ca.read_bytes(), are_authorities=True)
            place = settings.origins.place("issuers", name, "jwks_ca")
            if problem := authorities.problem(now):
                yield f"{place}: {problem}, so that keys cannot be fetched. Put the one that follows it there"
            if ending := authorities.ending(now):
                yield f"{place}: {ending}. Then keys cannot be fetched. Put the one that follows it there"


def tokens_that_expire(settings: Settings, entries: Iterable[Entry]) -> Iterator[str]:
    """Say which tokens expire within 14 days, but for those that were made for so short a time."""
    now = datetime.now(UTC)
    ending = sorted(
        (entry.expires.astimezone(UTC), f"{entry.id} of {entry.subject}")
        for entry in entries
        if entry.expires is not None and now < entry.expires < now + SOON and entry.expires - entry.created > SOON
    )
    if ending:
        named = [f"{token} at {expires:%Y-%m-%d %H:%M} UTC" for expires, token in ending]
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        yield (
            f"{settings.origins.place('auth', 'tokens')}: tokens expire within {SOON.days} days: "
            f"{', '.join(named[:_MOST_NAMED])}{more}. `rbd-connect token new` makes others"
        )
