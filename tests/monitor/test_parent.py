"""Workers whose parent was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_OWNER = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from undertow.monitor.parent import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent)
    pool.submit(print, "ready", flush=True).result()
    input()
"""


def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    """Nothing holds the output open any more once the owner of a pool was killed."""
    script = tmp_path / "owner.py"
    script.write_text(_OWNER)
    owner = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"ready\n"
    owner.kill()
    assert owner.communicate(timeout=60)[0] == b""
