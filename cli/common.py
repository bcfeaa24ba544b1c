"""Helpers shared by several commands: option parsing, checks of output paths, and error messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from ..errors import MissingExtra, UndertowError, UsageError

__all__ = ["given", "mapping_of", "must_be_file", "must_be_page", "needing", "writable"]


def given(context: typer.Context, name: str) -> bool:
    """Return whether the user gave an option; if so, it has to have an effect."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def mapping_of(pairs: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--map` into a mapping from part to field.

    Raises:
        UsageError: A value is not PART=FIELD, or a part is given twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        part, equals, field = pair.partition("=")
        if not (part and equals and field):
            raise UsageError(f"--map takes PART=FIELD, such as reasoning=cot_trace, not {pair!r}")
        if part in mapping:
            raise UsageError(f"--map gives {part} twice: {mapping[part]} and {field}")
        mapping[part] = field
    return mapping


def must_be_file(path: Path, inputs: Iterable[str | Path]) -> None:
    """Raise a UsageError, before any work is done, if no file can be written at `path`, or it is an input."""
    from ..monitor.audit.finding import find_kept
    from ..monitor.audit.run import target

    target(path, find_kept(inputs))


def must_be_page(path: Path) -> None:
    """Raise a UsageError, before any work is done, if no HTML page can be written at `path`."""
    from ..monitor.audit.run import page_target

    page_target(path, ())


@contextmanager
def needing(feature: str, extra: str) -> Iterator[None]:
    """Replace a MissingExtra error by one for the extra that contains everything the command needs."""
    try:
        yield
    except MissingExtra as error:
        raise MissingExtra(feature, extra) from error


@contextmanager
def writable() -> Iterator[None]:
    """Convert an OSError, such as a full disk or a read-only folder, to a one-line UndertowError."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise UndertowError(f"cannot go on: {where}{error.strerror or error}") from error
