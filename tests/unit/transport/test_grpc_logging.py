"""The log of grpc.aio."""

import logging

import grpc.aio
import pytest

from rbd_connect.transport.grpc.logging import quieten


def test_a_client_that_has_gone_is_a_line_and_other_errors_keep_their_tracebacks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    quieten()
    log = logging.getLogger("grpc._cython.cygrpc")
    for error in (grpc.aio.InternalError('Failed "execute_batch"'), ValueError("unlucky")):
        log.error("%s raised in core by servicer method [%s]", type(error), "/a/b", exc_info=error)
    told = [(record.levelname, bool(record.exc_info)) for record in caplog.records]
    assert told == [("INFO", False), ("ERROR", True)]
    assert "execute_batch" not in caplog.text
    assert "unlucky" in caplog.text
