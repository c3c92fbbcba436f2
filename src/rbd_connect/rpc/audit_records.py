"""What the audit says of a call."""

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from rbd_connect.config.access import Action
from rbd_connect.model.resources import Snapshot, SnapshotExistsError

from .caller import Caller

if TYPE_CHECKING:
    import asyncio

__all__ = ["record"]

_MOST_CHARACTERS = 255


def record(
    caller: Caller, action: Action, request: Message | None, task: "asyncio.Task[Any] | None" = None, **told: object
) -> dict[str, object]:
    """Give the fields of a line. ``request`` is None where it was not read; ``task`` is what Ceph did, if it was asked.

    What is unknown, or not of this call, is None.
    """
    identity = caller.identity
    return {
        "request_id": caller.request_id,
        "subject": identity.subject if identity else None,
        "credential": identity.credential if identity else None,
        "peer": caller.peer,
        "transport": caller.transport,
        "action": action,
        **_place(request),
        "snapshot_id": _snapshot_id(task),
        **told,
    }


def _place(request: Message | None) -> dict[str, str | None]:
    """Say where, as the caller wrote it; names that are too long to be any are cut."""

    def field(name: str) -> str | None:
        if request is None or name not in request.DESCRIPTOR.fields_by_name:
            return None
        return str(getattr(request, name))[:_MOST_CHARACTERS]

    pool, slash, namespace = (field("pool_name") or "").partition("/")
    return {
        "scope": field("scope"),
        "pool": pool or None,
        "namespace": namespace if slash else None,
        "image": field("image_name"),
        "snapshot": field("snapshot_name"),
    }


def _snapshot_id(task: "asyncio.Task[Any] | None") -> int | None:
    """Give the snapshot's id, as far as the call came to know it."""
    if task is None or not task.done() or task.cancelled():
        return None
    error = task.exception()
    if isinstance(error, SnapshotExistsError):
        return error.snapshot.id
    match None if error is not None else task.result():
        case Snapshot() as snapshot:
            return snapshot.id
        case int() as number:
            return number
    return None
