"""The table of errors is total: whatever the bindings raise has a meaning, or is on the short list of defects."""

import errno
import inspect
from types import ModuleType

import pytest
import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.errnos import MEANINGS
from rbd_connect.ceph.errors import ERRNO_OF_CLASS, ceph_errors
from rbd_connect.model.errors import CephError, ServiceError

# What the bindings raise of their own accord where our code is wrong, and not Ceph: these must reach the log.
DEFECTS = {
    (rados, "Error"),
    (rados, "ExtendMismatch"),
    (rados, "InProgress"),
    (rados, "InvalidArgumentError"),
    (rados, "IsConnected"),
    (rados, "LogicError"),
    (rados, "OSError"),
    (rbd, "Error"),
    (rbd, "LogicError"),
    (rbd, "OSError"),
}


def error_classes(module: ModuleType) -> list[tuple[ModuleType, str]]:
    return [
        (module, name) for name, value in inspect.getmembers(module, inspect.isclass) if issubclass(value, module.Error)
    ]


def translated(error: Exception) -> CephError:
    with pytest.raises(CephError) as raised, ceph_errors():
        raise error
    assert raised.value.__cause__ is error
    return raised.value


def errno_by_class_name(name: str) -> int | None:
    """The errno with which a binding raises a class (the tables at the head of rados.pyx and rbd.pyx)."""
    return {
        "ArgumentOutOfRange": errno.EDOM,
        "ConnectionShutdown": errno.ESHUTDOWN,
        "DiskQuotaExceeded": errno.EDQUOT,
        "FunctionNotSupported": errno.ENOSYS,
        "IOError": errno.EIO,
        "ImageBusy": errno.EBUSY,
        "ImageExists": errno.EEXIST,
        "ImageHasSnapshots": errno.ENOTEMPTY,
        "ImageMemberOfGroup": errno.EMLINK,
        "ImageNotFound": errno.ENOENT,
        "InterruptedOrTimeoutError": errno.EINTR,
        "InvalidArgument": errno.EINVAL,
        "InvalidArgumentError": errno.EINVAL,
        "InProgress": errno.EINPROGRESS,
        "IsConnected": errno.EISCONN,
        "NoData": errno.ENODATA,
        "NoSpace": errno.ENOSPC,
        "NotConnected": errno.ENOTCONN,
        "ObjectBusy": errno.EBUSY,
        "ObjectExists": errno.EEXIST,
        "ObjectNotFound": errno.ENOENT,
        "OperationCanceled": errno.ECANCELED,
        "OperationNotSupported": errno.EOPNOTSUPP,
        "PermissionDeniedError": errno.EACCES,
        "PermissionError": errno.EPERM,
        "ReadOnlyImage": errno.EROFS,
        "TimedOut": errno.ETIMEDOUT,
        "Timeout": errno.ETIMEDOUT,
    }.get(name)


@pytest.mark.parametrize(("module", "name"), [*error_classes(rados), *error_classes(rbd)])
def test_every_class_of_the_bindings_has_a_meaning(module: ModuleType, name: str) -> None:
    kind = getattr(module, name)
    number = errno_by_class_name(name)
    if kind in ERRNO_OF_CLASS:
        assert translated(kind("text")).errno == ERRNO_OF_CLASS[kind]
    elif number is not None and number in MEANINGS:
        assert translated(kind("text", errno=number)).code is MEANINGS[number].code
    else:
        assert (module, name) in DEFECTS, f"{module.__name__}.{name} is new: give it a meaning"


@pytest.mark.parametrize("number", sorted(MEANINGS))
@pytest.mark.parametrize("kind", [rados.OSError, rbd.OSError])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_errno_means_the_same_from_both_bindings(
    kind: type[rados.OSError] | type[rbd.OSError], number: int, sign: int
) -> None:
    error = translated(kind("secret text /etc/ceph 10.0.0.1", errno=sign * number))
    assert (error.code, error.reason, error.errno) == (MEANINGS[number].code, MEANINGS[number].reason, number)
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "error", [rbd.OSError("text", errno=errno.EBADE), rbd.OSError("text"), rados.LogicError("text")]
)
def test_what_nobody_foresaw_passes_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, ceph_errors():
        raise error
    assert raised.value is error


def test_a_service_error_passes_unchanged() -> None:
    error = ServiceError(Code.ABORTED, "REASON", "text")
    with pytest.raises(ServiceError) as raised, ceph_errors():
        raise error
    assert raised.value is error


def test_no_meaning_is_internal_or_unknown() -> None:
    assert not {meaning.code for meaning in MEANINGS.values()} & {Code.INTERNAL, Code.UNKNOWN}
