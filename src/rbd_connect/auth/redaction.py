"""Leaving out of an error what its caller may not see."""

from rbd_connect.model.errors import InTheWayError, Obstacle, ServiceError
from rbd_connect.model.names import ImageSpec

from .grants import Granted

__all__ = ["without_hidden"]


def without_hidden(error: ServiceError, scope: str, granted: Granted) -> ServiceError:
    """Return an error without the clones that the caller may not see. It says how many they are."""
    if not isinstance(error, InTheWayError):
        return error
    shown = [obstacle for obstacle in error.obstacles if _is_seen(obstacle, scope, granted)]
    hidden = len(error.obstacles) - len(shown)
    return InTheWayError(error.reason, error.lead, shown, hidden=hidden) if hidden else error


def _is_seen(obstacle: Obstacle, scope: str, granted: Granted) -> bool:
    if obstacle.kind != "CLONE":
        return True
    if obstacle.image is None:
        return False
    pool, namespace, image = obstacle.image
    return granted.sees(ImageSpec(scope=scope, pool=pool, namespace=namespace, image=image))
