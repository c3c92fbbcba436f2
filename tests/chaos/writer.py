"""`python writer.py CONF POOL IMAGE LOG`: a client that writes numbers, one after the other, until it is killed.

Number n goes to slot n modulo SLOTS. LOG has a line when a write is issued and when it is acknowledged: which of the
two (i, a), the number, and the time (``time.perf_counter``, that of the whole machine).
"""

import os
import struct
import sys
import time
from itertools import count

import rados
import rbd

__all__ = ["NUMBER", "SLOTS", "SLOT_BYTES"]

SLOTS = 64
SLOT_BYTES = 128 << 10  # 8 MiB in all: two objects
NUMBER = struct.Struct("<Q")


def main() -> None:
    conf, pool, name, log = sys.argv[1:]
    sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with (
        rados.Rados(conffile=conf, name="client.admin") as connection,
        connection.open_ioctx(pool) as ioctx,
        rbd.Image(ioctx, name) as image,
    ):
        for number in count(1):
            os.write(sink, b"i %d %.9f\n" % (number, time.perf_counter()))
            image.write(NUMBER.pack(number), number % SLOTS * SLOT_BYTES)
            os.write(sink, b"a %d %.9f\n" % (number, time.perf_counter()))


if __name__ == "__main__":
    main()
