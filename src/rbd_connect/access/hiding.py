"""Leaving out of an error what its caller may not see."""

from ..errors import Obstacle, PreconditionError, ServiceError, named
from ..spec import ImageSpec
from .grants import Granted

__all__ = ["without_hidden"]


def without_hidden(error: ServiceError, scope: str, granted: Granted) -> ServiceError:
    """Give an error without the clones that the caller may not see; that there are some, he is told."""
    if not isinstance(error, PreconditionError):
        return error
    shown = [obstacle for obstacle in error.obstacles if _is_seen(obstacle, scope, granted)]
    hidden = len(error.obstacles) - len(shown)
    if not hidden:
        return error
    rest = f"{hidden} that you may not see"
    who = f"{named(shown)}, and {rest}" if shown else rest
    return PreconditionError(error.reason, f"The snapshot has clones; flatten or delete them first: {who}.", shown)


def _is_seen(obstacle: Obstacle, scope: str, granted: Granted) -> bool:
    if obstacle.kind != "CLONE":
        return True
    if obstacle.image is None:
        return False
    pool, namespace, image = obstacle.image
    return granted.sees(ImageSpec(scope=scope, pool=pool, namespace=namespace, image=image))
