"""Write verdicts as JSON Lines: one verdict per line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["write"]


def write(lines: Iterable[bytes], path: Path) -> None:
    """Write each verdict on its own line."""
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
