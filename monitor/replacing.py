"""Writes files that appear at once and complete: under a temporary name, then moved into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Yield the path of a temporary file; once written and flushed to disk, it replaces `path`.

    If writing fails, `path` is left as it was.

    Args:
        path: the file to create or replace; its folder must exist.
        beside: the temporary file, in the same folder; an existing one is deleted. By default a name
            that no other process uses.

    Raises:
        OSError: the file cannot be written.
    """
    beside = beside or path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.unlink(missing_ok=True)
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
