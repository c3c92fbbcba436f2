"""Unit tests run on a machine that has no Ceph, not even its libraries."""

import subprocess
import sys
from pathlib import Path

_WITHOUT = """
import sys
sys.modules["rados"] = sys.modules["rbd"] = None
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", sys.argv[1]]))
"""


def test_unit_tests_import_neither_rados_nor_rbd() -> None:
    words = [sys.executable, "-c", _WITHOUT, str(Path(__file__).parent)]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
