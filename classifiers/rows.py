"""Rows of JSON Lines files, plain or gzipped; errors name the file and the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError

__all__ = ["read_rows"]

T = TypeVar("T")

_GZIP = b"\x1f\x8b"
"""The first bytes of a gzipped file, whatever its name."""

_WRONG = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""The errors that a value of an unexpected shape, type, size or depth can cause."""

_LONGEST = 200
"""Characters of an error message that are kept: a key or a number in it may be as long as the row."""


def read_rows(path: Path, make: Callable[[Any, int], T], what: str) -> Iterator[T]:
    """Yield the object that `make` builds from each row; empty lines are skipped.

    Args:
        path: JSON Lines in UTF-8, gzipped or not.
        make: builds the object from the value of a row and the number of its line, from 0; it may
            raise the errors of `_WRONG` if the value is not as expected.
        what: what a row should be, in words, for error messages.

    Raises:
        InputError: if the file cannot be opened or is damaged, a row is not JSON, or `make` fails.
    """
    for number, line in enumerate(_lines(path)):
        if line.strip():
            try:
                made = make(json.loads(line.decode("utf-8-sig")), number)
            except _WRONG as error:
                said = f"{type(error).__name__}: {error}"[:_LONGEST]
                raise InputError(f"{path}: line {number + 1} is not {what}: {said}") from error
            yield made


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            packed = file.peek(len(_GZIP)).startswith(_GZIP)
            yield from gzip.GzipFile(fileobj=file) if packed else file
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
