"""What the commands that read transcripts share: mappings, and plain words for a full disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingExtra, UndertowError, UsageError

__all__ = ["mapping_of", "must_be_file", "needing", "writable"]


def mapping_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return what `--map` says, part to field."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        part, equals, field = pair.partition("=")
        if not (part and equals and field):
            raise UsageError(f"--map takes PART=FIELD, such as reasoning=cot_trace, not {pair!r}")
        if part in mapping:
            raise UsageError(f"--map gives {part} twice: {mapping[part]} and {field}")
        mapping[part] = field
    return mapping


def must_be_file(path: Path) -> None:
    """Refuse a place where no file can be written, before the work and not after it."""
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"cannot write {path}: not a file in a folder that exists")


@contextmanager
def needing(feature: str, extra: str) -> Iterator[None]:
    """Name the extra that holds all that a command needs, and not that of the part that was missed first."""
    try:
        yield
    except MissingExtra as error:
        raise MissingExtra(feature, extra) from error


@contextmanager
def writable() -> Iterator[None]:
    """Say in one line that a disk is full or a folder closed."""
    try:
        yield
    except OSError as error:
        raise UndertowError(f"cannot go on: {error}") from error
