"""What the type stubs of rados and rbd say is there is there: `make lint` cannot tell of all of it."""

from functools import reduce
from pathlib import Path

import rados
import rbd

MODULES = {"rados": rados, "rbd": rbd}
ALLOWED = Path(__file__).parents[2] / "typings" / "allowlist.txt"
ONLY_IN_STUBS = {"rbd.Snapshot"}


def test_the_modules_have_what_stubtest_does_not_check() -> None:
    lines = ALLOWED.read_text(encoding="utf-8").splitlines()
    names = {line for line in lines if line and not line.startswith("#")} - ONLY_IN_STUBS
    assert names
    for name in names:
        module, *path = name.split(".")
        assert reduce(getattr, path, MODULES[module]), name
