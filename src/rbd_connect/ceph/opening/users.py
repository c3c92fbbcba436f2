"""Who has an image: its watchers, and its lockers."""

from collections.abc import Iterator, Sequence

import rbd

from rbd_connect.model.errors import InTheWayError, PreconditionError, PreconditionViolation

__all__ = ["check_unused", "image_users", "in_use", "lock_error"]

# How librbd's own locks begin. Those of a client that died are in nobody's way: librbd breaks them.
_AUTOMATIC_COOKIE = "auto "


def image_users(image: rbd.Image, own_id: int | None = None) -> list[PreconditionViolation]:
    """Give the watchers of an image (``rbd_watchers_list``) and who has locked it by hand (``rbd_list_lockers``).

    ``own_id`` is the number of our own client, which is left out.
    """
    return [*_watchers(image, own_id), *_lockers(image, own_id)]


def in_use(found: Sequence[PreconditionViolation]) -> PreconditionError:
    """Return the error for an image that others have."""
    return InTheWayError("IMAGE_IN_USE", "The image is in use by", found)


def lock_error(image: rbd.Image) -> PreconditionError | None:
    """Return the error for an image that somebody has locked by hand, so that librbd cannot change it."""
    found = list(_lockers(image, None))
    return in_use(found) if found else None


def check_unused(image: rbd.Image, own_id: int) -> None:
    """Raise PreconditionError where somebody else has an image."""
    found = image_users(image, own_id)
    if found:
        raise in_use(found)


def _watchers(image: rbd.Image, own_id: int | None) -> Iterator[PreconditionViolation]:
    for watcher in image.watchers_list():
        if watcher["id"] != own_id:
            yield PreconditionViolation(
                kind="WATCHER",
                subject=f"client.{watcher['id']}",
                description=f"A client at {watcher['addr']} has it open.",
            )


def _lockers(image: rbd.Image, own_id: int | None) -> Iterator[PreconditionViolation]:
    try:
        locks = image.list_lockers()
    except UnicodeDecodeError:
        yield PreconditionViolation(
            kind="LOCK", subject="", description="A client has locked it under a name that is not UTF-8."
        )
        return
    # Where there is none, the binding gives a list.
    for client, cookie, address in locks["lockers"] if isinstance(locks, dict) else ():
        if client != f"client.{own_id}" and not cookie.startswith(_AUTOMATIC_COOKIE):
            yield PreconditionViolation(
                kind="LOCK", subject=client, description=f"A client at {address} has locked it as {cookie!r}."
            )
