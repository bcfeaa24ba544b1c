"""The number of threads that classifiers may use in this process.

By default one for each core that the process may use; code that runs several processes sets a limit.
"""

from __future__ import annotations

import os

__all__ = ["limit_threads", "threads"]

_limit: int | None = None


def threads() -> int:
    """Return the number of threads to judge with, at least 1."""
    if _limit is not None:
        return _limit
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """Limit the classifiers in this process to this number of threads."""
    global _limit  # noqa: PLW0603  (one limit a process is the point)
    _limit = count
