"""Images and snapshots as `rbd` prints them, in the form that their messages have in JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .tools import Tools

__all__ = ["IMAGE_FEATURES", "as_json", "printed_image", "printed_used"]

# A feature in the words of a reply, and in those of `rbd info`.
IMAGE_FEATURES = {
    "layering": "layering",
    "exclusiveLock": "exclusive-lock",
    "objectMap": "object-map",
    "fastDiff": "fast-diff",
    "deepFlatten": "deep-flatten",
}


def printed_image(tools: Tools, place: str, name: str) -> dict[str, Any]:
    """What `rbd info`, `rbd snap ls` and `rbd du` print of an image. ``place`` is "pool" or "pool/namespace"."""
    info = tools.rbd_json("info", f"{place}/{name}")
    used = printed_used(tools, f"{place}/{name}")
    image = {
        "name": name,
        "poolName": place,
        "objectSizeBytes": info["object_size"],
        "stripeUnitBytes": info.get("stripe_unit", info["object_size"]),
        "stripeCount": info.get("stripe_count", 1),
        "quotaBytes": info["size"],
        "usedBytes": used[None],
        "objectCount": info["objects"],
        "createdAt": _utc(info["create_timestamp"]),
        **{field: feature in info["features"] for field, feature in IMAGE_FEATURES.items()},
    }
    snapshots = _snapshots(tools, f"{place}/{name}", used)
    message: dict[str, Any] = as_json({**image, "snapshots": snapshots} if snapshots else image)
    return message


def printed_used(tools: Tools, image: str) -> dict[str | None, int]:
    """What `rbd du` prints for each snapshot of an image, and for its head, which is None."""
    return {row.get("snapshot"): row["used_size"] for row in tools.rbd_json("du", image)["images"]}


def as_json(value: Any) -> Any:  # noqa: ANN401 - what JSON holds
    """Write numbers as JSON has those of 64 bits."""
    match value:
        case bool():
            return value
        case int():
            return str(value)
        case list():
            return [as_json(each) for each in value]
        case dict():
            return {name: as_json(each) for name, each in value.items()}
    return value


def _snapshots(tools: Tools, image: str, used: Mapping[str | None, int]) -> list[dict[str, Any]]:
    return [
        {
            "name": snapshot["name"],
            "protected": snapshot["protected"] == "true",
            "quotaBytes": snapshot["size"],
            "usedBytes": used[snapshot["name"]],
        }
        for snapshot in sorted(tools.snapshots(image), key=lambda found: int(found["id"]))
    ]


def _utc(printed: str) -> str:
    """Read the local time that `rbd` prints."""
    return datetime.strptime(printed, "%a %b %d %H:%M:%S %Y").astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
