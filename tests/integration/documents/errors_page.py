"""The page of errors, written from the code's tables: ``python -m documents.errors_page > ../docs/errors.md``."""

from collections.abc import Iterator

from rbd_connect.model.reasons import REASONS, Reason
from rbd_connect.rpc.retries import REPEATED

__all__ = ["page"]

_HEAD = """# Errors

Each error has a code, a message for developers, and details that a program can act on. `make dev` runs the server that
these calls are made to:

```console
$ .venv/bin/buf curl --schema proto \\
    --data '{"scope": "dev", "poolName": "rbd", "imageName": "nowhere", "snapshotName": "first"}' \\
    http://127.0.0.1:8080/otterscale.storage.v1.StorageService/CreateImageSnapshot
{
   "code": "not_found",
   "message": "There is no image 'nowhere' in pool 'rbd'.",
   "details": [
      {
         "type": "google.rpc.ErrorInfo",
         "value": "…",
         "debug": {
            "reason": "IMAGE_NOT_FOUND",
            "domain": "rbd-connect",
            "metadata": {
               …
               "request_id": "…",
               …
            }
         }
      },
      {
         "type": "google.rpc.ResourceInfo",
         "value": "…",
         "debug": {
            "resourceType": "image",
            "resourceName": "nowhere",
            "description": "There is no image 'nowhere' in pool 'rbd'."
         }
      }
   ]
}
```

A program decides by the `reason` of `google.rpc.ErrorInfo`, which is stable; a message may change. `ErrorInfo` also has
the place (`scope`, `pool`, `image`, `snapshot`), the `request_id`, and the name of Ceph's `errno` where there is one. The
request id is also in the header `x-request-id`, in gRPC's trailers, and in the server's log.

**A JSON client reads the reason from `debug`.** In Connect, each detail is base64 in `value`, and the same message as
JSON in `debug`. The server always sends both, for every error. (The Connect protocol does not promise `debug`, so
another server may not.) In gRPC and gRPC-Web, details are binary alone.

Without details are only these answers, which are not the server's own:

- of gRPC's library, before a call comes to the server: a header that it cannot parse (`internal`), a deadline that has
  passed, a compression that it does not know, a message of more than four times `message_bytes`, and a call that the
  server had to leave when it stopped.
  After a header that it cannot parse, later calls of the same connection may fail too
  ([grpc#34721](https://github.com/grpc/grpc/issues/34721)): a proxy that shares connections should refuse methods other than
  POST, and encodings other than `gzip` and `identity`;
- to a page of an origin that is not configured: the browser says `Failed to fetch`;
- of a client's own library, or of a proxy: no connection, its own deadline, a reply that is larger than it takes.

## What is among the details

| detail | of |
| --- | --- |
| `google.rpc.ErrorInfo` | every error |
| `google.rpc.BadRequest`: each field that is wrong, and what is allowed there | `INVALID_NAME`, `INVALID_LAYOUT`, and `MALFORMED_REQUEST` where fields are wrong. A field that the call does not know is ignored; where a required one is empty, it is named there |
| `google.rpc.ResourceInfo`: what is not there | `not_found` |
| the existing `otterscale.storage.v1.Image.Snapshot` or `Image`, the latter without its snapshots where they are many | `SNAPSHOT_EXISTS`, `IMAGE_EXISTS` |
| `google.rpc.PreconditionFailure`: each `WATCHER`, `LOCK`, `SNAPSHOT`, `GROUP_SNAPSHOT`, `MIRROR_SNAPSHOT`, `TRASH_SNAPSHOT` (deleted, and kept for its clones), `CLONE`, `GROUP` or `MIGRATION` in the way, with what removes it, as far as there is room | `failed_precondition` |
| `google.rpc.RetryInfo`: after how long the same call may be sent again | the reasons below whose last column has a time, and no others |

## Whether to retry

Send the same call again where the table below has a time, and not before. `RetryInfo` has it too, in that case only. Where
the table says no, the same call fails again until somebody has done what the table says.

Where the outcome is unknown (`OUTCOME_UNKNOWN`, `CANCELED`), the call may be done, or be done yet. A retry then tells, and
for all calls but two it destroys nothing that was written in between:

| sent again, after it was done | answers |
| --- | --- |
"""

_AFTER_REPEATED = """
For the two in bold such an error has no `RetryInfo`, and its message says what a retry would do. Look at the image first:
whether it is in use, and its size (`ListImages`). A call that says that nothing was done is as safe to retry as it was
to send.

A name means what it means at that moment. Where an image or a snapshot was deleted, and another was made under its name in
between, a deletion that is sent again deletes that one.

## All reasons

| reason | code | means | what to do | retry |
| --- | --- | --- | --- | --- |
"""

_TAIL = """
This page is written from the tables of the code (`src/rbd_connect/model/reasons.py`, `src/rbd_connect/rpc/retries.py`) by
`make docs`.
"""


def page() -> str:
    """Return the page."""
    return "".join([_HEAD, *_repeated(), _AFTER_REPEATED, *map(_row, sorted(REASONS)), _TAIL])


def _repeated() -> Iterator[str]:
    answers: dict[str, list[str]] = {}
    for call, repeated in REPEATED.items():
        answers.setdefault(repeated.answer, []).append(f"`{call}`")
    for answer, calls in answers.items():
        yield f"| {', '.join(calls)} | {answer} |\n"


def _row(name: str) -> str:
    reason = REASONS[name]
    codes = ", ".join(f"`{code.value}`" for code in reason.codes)
    return f"| `{name}` | {codes} | {reason.meaning} | {reason.action}. | {_retry(reason)} |\n"


def _retry(reason: Reason) -> str:
    if reason.retry_after is None:
        return "no"
    return f"after {reason.retry_after:g} s" if reason.retry_after else "at once"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - what it is for
