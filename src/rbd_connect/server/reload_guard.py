"""Reloads that would open the server: they are refused, since a file that is cut short must let nobody in.

A full disk, an editor, or ``: > file`` leaves a file that can be read, and says less. What takes authentication away,
or is the beginning of what was in force, cut in the middle of something, needs a restart.
"""

from collections.abc import Iterator

from rbd_connect.config.loading import ConfigurationError
from rbd_connect.config.origins import Key, spelled
from rbd_connect.config.settings import Settings

__all__ = ["check_opens_nothing"]


def check_opens_nothing(before: Settings, new: Settings, *, was: str, now: str) -> None:
    """Raise ConfigurationError where ``new`` must not take the place of ``before`` while the server runs.

    ``was`` and ``now`` are the texts of the file that they stand in.
    """
    if before.with_authentication and not new.with_authentication:
        raise ConfigurationError(
            "refused: none of auth.tokens, auth.certificate_name and issuers is set any more, so that everybody would "
            "be let in without a credential. If that is meant, restart the server."
        )
    if now != was and was.startswith(now):
        for key in _changed(before, new):
            raise ConfigurationError(
                f"{new.origins.place(*key)}: refused: the file is the beginning of what it was, cut short in the "
                f"middle of {spelled(key)}. If that is meant, end it with a comment, or restart the server."
            )


def _changed(before: Settings, new: Settings) -> Iterator[Key]:
    """Name what is there still, and says something else: of what has gone altogether nothing is granted."""
    yield from (("issuers", name) for name, one in new.issuers.items() if one != before.issuers.get(name))
    pairs = enumerate(zip(before.grants, new.grants, strict=False))
    yield from (("grants", number) for number, (old, one) in pairs if old != one)
    if new.subjects != before.subjects:
        yield ("subjects",)
