"""What grpc.aio writes to the log by itself."""

import logging

import grpc.aio

__all__ = ["quieten"]


def quieten() -> None:
    """Have a client that goes just when it is answered be a line in the log; to grpc it is an error with a traceback.

    https://github.com/grpc/grpc/pull/32551
    """
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], grpc.aio.InternalError):
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        record.msg, record.args, record.exc_info = "a client had gone when it was answered", (), None
    return True
