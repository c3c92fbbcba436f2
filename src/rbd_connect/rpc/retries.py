"""What the same call does when it is sent again: for the text of errors whose outcome is unknown, and for RetryInfo."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rbd_connect.model.errors import RetryableError, ServiceError
from rbd_connect.model.reasons import REASONS

__all__ = ["REPEATED", "Repeated", "advice", "retry_after"]


@dataclass(frozen=True, slots=True)
class Repeated:
    """What a call does when it is sent again, as the documents say it, and as an error says it to who may retry.

    ``is_safe`` says that it destroys nothing that was written in between.
    """

    answer: str
    advice: str
    is_safe: bool = True


_CREATED = Repeated(
    "`already_exists`, with what exists among the details, with the same fields as the reply",
    "Retry to find out: already_exists means that it was done.",
)
_DELETED = Repeated(
    "`not_found`: it is gone. A deletion that was interrupted is finished",
    "Retry to find out: not_found means that it was done.",
)
_KEPT = Repeated("success: it stays as it is", "Retry to find out: what was done stays so.")
_READ = Repeated("what there is now", "Retry: this call changes nothing.")

# Each call, by its name.
REPEATED: Mapping[str, Repeated] = MappingProxyType(
    {
        "CreateImageSnapshot": _CREATED,
        "CreateImage": _CREATED,
        "DeleteImageSnapshot": _DELETED,
        "DeleteImage": _DELETED,
        "ProtectImageSnapshot": _KEPT,
        "UnprotectImageSnapshot": _KEPT,
        "ListImages": _READ,
        "ListPools": _READ,
        "RollbackImageSnapshot": Repeated(
            "success: **the image is rolled back once more, and what was written to it in between is lost**",
            "A retry rolls the image back once more: what was written to it in between is lost. "
            "Retry only if nothing was written.",
            is_safe=False,
        ),
        "UpdateImage": Repeated(
            "success: **the size is set once more; if the image was made larger in between, "
            "what was written beyond this size is lost**",
            "A retry sets the size once more: if the image was made larger in between, what was written beyond this "
            "size is lost. Retry only if it was not made larger.",
            is_safe=False,
        ),
    }
)


def advice(error: ServiceError, call: str | None) -> str | None:
    """Say what a retry would do, where the outcome of a call is unknown and the error does not say no to a retry."""
    reason = REASONS.get(error.reason)
    repeated = REPEATED.get(call or "")
    if reason is None or repeated is None or not reason.is_outcome_unknown or reason.retry_after is None:
        return None
    return repeated.advice


def retry_after(error: ServiceError, call: str | None) -> float | None:
    """Return after how many seconds the same call may be sent again; None where it is not to be.

    So it is where it would fail again, and where it may have been done and doing it twice could destroy something.
    """
    reason = REASONS.get(error.reason)
    if reason is None or reason.retry_after is None:
        return None
    repeated = REPEATED.get(call or "")
    if reason.is_outcome_unknown and (repeated is None or not repeated.is_safe):
        return None
    if isinstance(error, RetryableError) and error.seconds is not None:
        return error.seconds
    return reason.retry_after
