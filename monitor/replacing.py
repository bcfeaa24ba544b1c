"""Write files that appear at once and complete: under a temporary name, then moved into place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError

__all__ = ["must_be_folder", "replacing"]


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


def must_be_folder(path: Path) -> None:
    """Check, before any work is done, that a folder can be made or written into at `path`.

    Raises:
        UsageError: It cannot.
    """
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UsageError(f"cannot write into {path}: {there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into {path}: no permission to write into {there}")
