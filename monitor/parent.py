"""Workers that end with the process that started them, however it ends."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from threading import Thread

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """Let this process end once its parent has: a pool whose owner was killed would wait for ever."""
    if parent_process() is not None:
        Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
