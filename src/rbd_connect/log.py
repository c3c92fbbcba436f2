"""The log: lines on standard error, which the server and its workers share."""

import logging
import sys

__all__ = ["configure"]


def configure() -> None:
    """Write what is of interest in production, a line each."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
