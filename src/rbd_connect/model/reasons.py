"""Every reason of an error: its codes, what it means, what to do, and whether the same call may be sent again.

This is the one table. `make docs` writes docs/errors.md from it, and RetryInfo comes from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from connectrpc.code import Code

__all__ = ["REASONS", "Reason"]


@dataclass(frozen=True, slots=True)
class Reason:
    """What a reason says. The texts are Markdown, for the documents.

    ``retry_after`` is after how many seconds the same call may be sent again; None is for one that fails again until
    somebody has done something. ``is_outcome_unknown`` says that the call may have been done, or may be done yet.
    """

    codes: tuple[Code, ...]
    meaning: str
    action: str
    retry_after: float | None = None
    is_outcome_unknown: bool = False


_ADMINISTRATOR = "Tell the server's administrator"
_REQUEST = "Correct the request; the message says what is wrong"
_CLIENT = "Use a client of Connect, gRPC or gRPC-Web, or send what the message asks for"
_FIND_OUT = "Send the call again to find out, unless it is `RollbackImageSnapshot` or `UpdateImage`: see above"
_WAIT = "Wait, and send the call again"
_SPACE = "Delete snapshots or images, which is possible in a full pool too"


def _invalid(meaning: str, action: str = _REQUEST) -> Reason:
    return Reason((Code.INVALID_ARGUMENT,), meaning, action)


def _not_found(meaning: str, action: str) -> Reason:
    return Reason((Code.NOT_FOUND,), meaning, action)


def _precondition(meaning: str, action: str, *, is_outcome_unknown: bool = False) -> Reason:
    return Reason((Code.FAILED_PRECONDITION,), meaning, action, is_outcome_unknown=is_outcome_unknown)


def _denied(meaning: str, action: str = _ADMINISTRATOR) -> Reason:
    return Reason((Code.PERMISSION_DENIED,), meaning, action)


def _exhausted(meaning: str, action: str, retry_after: float | None = None) -> Reason:
    return Reason((Code.RESOURCE_EXHAUSTED,), meaning, action, retry_after)


def _unavailable(meaning: str, action: str = _WAIT, retry_after: float | None = None) -> Reason:
    return Reason((Code.UNAVAILABLE,), meaning, action, retry_after)


def _unimplemented(meaning: str, action: str = _CLIENT) -> Reason:
    return Reason((Code.UNIMPLEMENTED,), meaning, action)


def _aborted(meaning: str, action: str, retry_after: float | None = None) -> Reason:
    return Reason((Code.ABORTED,), meaning, action, retry_after)


REASONS: Mapping[str, Reason] = MappingProxyType(
    {
        # The request.
        "INVALID_NAME": _invalid("A name is empty or is not allowed."),
        "INVALID_LAYOUT": _invalid("A size, a striping or a set of features is not allowed, or the size is missing."),
        "MALFORMED_REQUEST": _invalid("The body cannot be read: it is not JSON, or a value is of the wrong type."),
        "MALFORMED_HEADER": _invalid("A header cannot be read, or was sent more than once."),
        "MALFORMED_HTTP": _invalid("This is not HTTP/1.1.", "Send gRPC to the gRPC address, and HTTPS only with TLS"),
        "PROTOCOL_VERSION": _invalid(
            "The header `Connect-Protocol-Version` is missing or is not 1.", "Send `Connect-Protocol-Version: 1`"
        ),
        "TIMEOUT": _invalid("The header with the deadline is not a number.", "Correct the header"),
        "REFUSED_BY_CEPH": _invalid(
            "Ceph refuses the call, for a cause that it does not tell.",
            "Compare the request with what `rbd info` prints of the image, and with the pool's settings",
        ),
        "TOO_LONG": _invalid("A name is longer than this cluster allows.", "Use a shorter name"),
        "OUT_OF_RANGE": Reason((Code.OUT_OF_RANGE,), "A number is out of the image's range.", _REQUEST),
        "MESSAGE_TOO_LARGE": _exhausted("The request is larger than `message_bytes`.", "Send a smaller request"),
        "HEADERS_TOO_LARGE": _exhausted("The request has too many headers, or too long ones.", "Send fewer headers"),
        "REQUEST_TOO_SLOW": Reason(
            (Code.DEADLINE_EXCEEDED,),
            "The request did not arrive in time. Nothing was done.",
            "Send it again; look at the network if it fails again",
            1,
        ),
        "UNKNOWN_PROCEDURE": _unimplemented("There is no such call.", "Correct the path, or use another call"),
        "METHOD_NOT_ALLOWED": _unimplemented("Calls are made by POST.", "Send a POST"),
        "CONTENT_TYPE": _unimplemented("The server does not read this content type on this address."),
        "ENCODING": _unimplemented("The server does not read this compression.", "Send gzip, or no compression"),
        "ENCODING_MISSING": Reason(
            (Code.INTERNAL,),
            "A gRPC-Web message is marked as compressed, and no header says how.",
            "Send the header `grpc-encoding`, or no compression",
        ),
        "NOT_SUPPORTED": _unimplemented(
            "The cluster, the image or the server does not support this.",
            "Use another client, or another image; the message says which it is",
        ),
        # Who calls.
        "UNAUTHENTICATED": Reason(
            (Code.UNAUTHENTICATED,),
            "There is no credential, or none that is valid.",
            "Send a valid token: `Authorization: Bearer TOKEN`; the server's log says what is wrong with one",
        ),
        "NOT_GRANTED": _denied(
            "The caller may see this, and may not do this to it.",
            f"{_ADMINISTRATOR}; `rbd-connect access explain` shows which grant is missing",
        ),
        "NOT_LOCAL": _denied(
            "The server has no authentication, so it serves callers on its own machine only.",
            "Call from there, by `localhost` or `127.0.0.1`; or let the server have tokens",
        ),
        "SUBJECT_BUSY": _exhausted("The caller has too many calls in flight.", "Make fewer calls at a time", 1),
        "SUBJECT_RATE": _exhausted(
            "The caller makes too many calls a second.", "Make fewer calls a second; RetryInfo has the exact time", 1
        ),
        # What is not there, and what is there already.
        "SCOPE_NOT_FOUND": _not_found(
            "The server has no such scope, or the caller may not see it.", "Name one that `/readyz` lists"
        ),
        "POOL_NOT_FOUND": _not_found(
            "There is no such pool, or the caller may not see it.", "Name one that `ListPools` lists"
        ),
        "NAMESPACE_NOT_FOUND": _not_found(
            "There is no such namespace, or the caller may not see it.", "Name one that `rbd namespace ls` lists"
        ),
        "IMAGE_NOT_FOUND": _not_found(
            "There is no such image, or the caller may not see it. To a deletion: it is gone.",
            "Name one that `ListImages` lists",
        ),
        "SNAPSHOT_NOT_FOUND": _not_found(
            "There is no such snapshot. To a deletion: it is gone.", "Name one that `ListImages` lists"
        ),
        "VANISHED": _not_found(
            "The pool, the image or the snapshot was removed during the call.", "Find out who removes it"
        ),
        "SNAPSHOT_EXISTS": Reason(
            (Code.ALREADY_EXISTS,),
            "There is a snapshot of that name. It is among the details. To a retry: the call was done.",
            "Use it, or choose another name",
        ),
        "IMAGE_EXISTS": Reason(
            (Code.ALREADY_EXISTS,),
            "There is an image of that name. It is among the details. To a retry: the call was done.",
            "Use it, or choose another name",
        ),
        "EXISTS": Reason(
            (Code.ALREADY_EXISTS,),
            "Something of that name was made during the call.",
            "Send the call again, which says what it is",
            0,
        ),
        # What stands in the way.
        "IMAGE_IN_USE": _precondition(
            "Another client has the image open, or has locked it. The details say which.",
            "Stop that client, or detach the image from it",
        ),
        "IMAGE_HAS_SNAPSHOTS": _precondition(
            "The image has snapshots, and is not deleted.", "Remove them; the details say how"
        ),
        "SNAPSHOT_PROTECTED": _precondition(
            "The snapshot is protected, and is not deleted.", "Call `UnprotectImageSnapshot` first"
        ),
        "SNAPSHOT_HAS_CLONES": _precondition(
            "The snapshot has clones. The details name them.", "Flatten them (`rbd flatten`) or delete them"
        ),
        "SNAPSHOT_NOT_A_USERS": _precondition(
            "The snapshot is a group's, mirroring's, or a deleted one.", "Use the command that the details name"
        ),
        "IMAGE_IN_GROUP": _precondition(
            "The image belongs to a group.", "Take it out of the group: `rbd group image rm`"
        ),
        "IMAGE_MIGRATING": _precondition(
            "The image is under migration.", "Commit or abort that: `rbd migration commit`, `rbd migration abort`"
        ),
        "IMAGE_NON_PRIMARY": _precondition(
            "The image is a mirror's replica.", "Call the server of the primary image, or promote this one"
        ),
        "IMAGE_READ_ONLY": _precondition(
            "A newer Ceph has put the image to a use that this server's librbd does not know.", "Update the server"
        ),
        "IMAGE_WITHOUT_LAYERING": _precondition(
            "The image lacks the feature layering, so that its snapshots cannot be protected.",
            "Make another image with that feature",
        ),
        "IMAGE_INCOMPLETE": _precondition(
            "The image was made or deleted in part, or is damaged.",
            "Call `DeleteImage`, which removes what is left; if the message names an id, `rbd` opens the image by it",
        ),
        "PARENT_MISSING": _precondition(
            "The image is a clone, and its parent is gone.", "Bring the parent back, or delete the image"
        ),
        "MIGRATION_SOURCE_MISSING": _precondition(
            "The image is under migration, and the source of its data is gone.", "Bring the source back"
        ),
        "POOL_MISSING": _precondition("A pool that the image needs is gone.", _ADMINISTRATOR),
        "DATA_POOL_MISSING": _precondition(
            "The pool of the image's data is gone, or the one that is configured for new images.",
            "Delete the image; or correct `rbd_default_data_pool`",
        ),
        "JOURNAL_POOL_MISSING": _precondition(
            "The pool of the image's journal is gone.", "Disable journaling; the message has the command"
        ),
        "POOL_NOT_FOR_IMAGES": _precondition(
            "The pool is erasure-coded, or is not tagged `rbd`.",
            "Use another pool, or tag it: `ceph osd pool application enable POOL rbd`",
        ),
        "NAME_NOT_UTF8": _precondition(
            "A name in Ceph is not UTF-8, so that no call can have it.", "Rename it with `rbd`"
        ),
        "BUSY": _precondition("It is in use.", "See who has it: `rbd status`, `rbd lock ls`"),
        "NOT_EMPTY": _precondition("It still holds others.", "Remove those first"),
        "WRONG_STATE": _precondition("The state of the image does not allow this.", "See what `rbd info` prints"),
        "WORKER_CRASHED": _precondition(
            "Ceph's library crashed during the call, which may be done in part.",
            "Look at the image (`rbd info`) and the cluster (`ceph health detail`). "
            "The same call is refused for ten minutes, a list for half a minute",
            is_outcome_unknown=True,
        ),
        "REFUSED_AFTER_CRASH": _precondition(
            "The same call crashed Ceph's library lately. Nothing was done.",
            "Look at the image (`rbd info`) and the cluster (`ceph health detail`). "
            "The message says when the call is accepted again",
        ),
        # Room.
        "POOL_FULL": _exhausted("The pool is full.", _SPACE),
        "POOL_QUOTA_REACHED": _exhausted(
            "The pool is at its quota.", f"{_SPACE}; or raise the quota: `ceph osd pool set-quota`"
        ),
        "NO_SPACE": _exhausted("The cluster or the pool is full.", _SPACE),
        "QUOTA_EXCEEDED": _exhausted(
            "The image has as many snapshots as its limit allows.",
            "Delete some, or raise the limit: `rbd snap limit set`",
        ),
        "SERVER_EXHAUSTED": _exhausted("The server has no memory, descriptor or process left.", _WAIT, 1),
        "IMAGE_BUSY": _exhausted("Too many calls wait for this image. Nothing was done.", _WAIT, 1),
        "SCOPE_BUSY": _exhausted("Too many calls wait in this scope. Nothing was done.", _WAIT, 1),
        # The cluster, and the way to it.
        "CEPH_CAPS_MISSING": _denied(
            "The server's Ceph user lacks a capability.", f"{_ADMINISTRATOR}: `ceph auth caps`"
        ),
        "CEPH_AUTH_REJECTED": _denied("The cluster does not accept the key of the server's Ceph user."),
        "CEPH_KEYRING_MISSING": _denied("The server has no keyring for its Ceph user."),
        "CEPH_KEYRING_UNREADABLE": _denied("The server cannot read the keyring of its Ceph user, or it is garbled."),
        "CEPH_KEYRING_EXPOSED": _denied(
            "The server's keyring can be read by others, so it is not used.", f"{_ADMINISTRATOR}: `chmod 600`"
        ),
        "CEPH_CONF_UNREADABLE": _unavailable("The server cannot read the cluster's `ceph.conf`.", _ADMINISTRATOR),
        "CEPH_MONITORS_UNKNOWN": _unavailable(
            "The cluster's `ceph.conf` does not say where its monitors are.", f"{_ADMINISTRATOR}: set `mon_host`"
        ),
        "CONNECT_FAILED": _unavailable("The cluster cannot be reached. Nothing was done.", retry_after=1),
        "CONNECTION_LOST": _unavailable("The connection to the cluster was lost. Nothing was done.", retry_after=1),
        "CEPH_TIMED_OUT": _unavailable("The cluster did not answer in time. Nothing was done.", retry_after=5),
        "POOL_INACTIVE": _unavailable(
            "No OSD serves some placement groups of a pool. Nothing was done.",
            f"{_WAIT}; `ceph health detail` says which they are",
            5,
        ),
        "IMAGE_LOCKED": _unavailable("Another server changes the image. Nothing was done.", retry_after=5),
        "LOCK_UNAVAILABLE": _unavailable(
            "The image's exclusive lock cannot be had now; its owner may have died.",
            f"{_WAIT}; Ceph takes a lock from a dead client after half a minute",
            5,
        ),
        "TRY_AGAIN": _unavailable("Ceph asks to try again; something is changing.", retry_after=1),
        "IO_ERROR": Reason((Code.DATA_LOSS,), "Ceph reports an I/O error.", f"{_ADMINISTRATOR}: `ceph health detail`"),
        # What happened during the call.
        "NAME_CHANGED": _aborted(
            "A pool or an image was renamed or replaced while the call waited. Nothing was done.",
            "Send the call again if you mean what has the name now",
            0,
        ),
        "SNAPSHOT_VANISHED": _aborted("Another client removed the snapshot just made.", "Find out who removes it"),
        "IMAGE_VANISHED": _aborted("Another client removed the image just made.", "Find out who removes it"),
        "OPERATION_CANCELED": _aborted("Ceph gave the operation up.", _WAIT, 1),
        "NOT_STARTED": Reason(
            (Code.DEADLINE_EXCEEDED,),
            "The deadline passed before Ceph was asked for a change. Nothing was done.",
            "Send the call again, with more time",
            1,
        ),
        "OUTCOME_UNKNOWN": Reason(
            (Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE),
            "The deadline passed, or Ceph was lost, while it worked on the call. It may be done, or be done yet.",
            _FIND_OUT,
            1,
            is_outcome_unknown=True,
        ),
        "CANCELED": Reason(
            (Code.CANCELED,),
            "The server was stopped during the call. It may be done, or be done yet.",
            _FIND_OUT,
            1,
            is_outcome_unknown=True,
        ),
        "INTERNAL": Reason(
            (Code.INTERNAL,),
            "The server failed in a way that nobody foresaw.",
            f"{_ADMINISTRATOR} the request id; the log has more under it",
            is_outcome_unknown=True,
        ),
    }
)
