"""Leaving out of an error what its caller may not see."""

from rbd_connect.model.errors import InTheWayError, PreconditionViolation, ServiceError
from rbd_connect.model.names import ImageSpec

from .grants import Granted

__all__ = ["without_hidden"]


def without_hidden(error: ServiceError, scope: str, granted: Granted) -> ServiceError:
    """Return an error without the clones that the caller may not see. It says how many they are."""
    if not isinstance(error, InTheWayError):
        return error
    shown = [violation for violation in error.violations if _is_seen(violation, scope, granted)]
    hidden = len(error.violations) - len(shown)
    return InTheWayError(error.reason, error.lead, shown, hidden=hidden) if hidden else error


def _is_seen(violation: PreconditionViolation, scope: str, granted: Granted) -> bool:
    if violation.kind != "CLONE":
        return True
    if violation.image is None:
        return False
    pool, namespace, image = violation.image
    return granted.sees(ImageSpec(scope=scope, pool=pool, namespace=namespace, image=image))
