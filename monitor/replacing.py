"""Files that appear at once and whole: written beside their place, and moved there at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing"]


@contextmanager
def replacing(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """Give the name of a file to write; whole and on the disk, it takes the place of `path`.

    Where writing fails, whatever stood at `path` is left as it was.

    Args:
        path: the file to replace, or to make; its folder is there.
        beside: what to write until then, in the same folder; what stands there is taken away. A name
            that no other process uses unless given.

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
