"""Rows of JSON Lines, plain or packed with gzip; what is wrong with a file is said by its name and line."""

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
"""What a packed file begins with, whatever its name."""

_WRONG = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)
"""What goes wrong with a value of another shape, type or size than expected, or nested too deep."""

_LONGEST = 200
"""Characters of an error that are passed on: a key or a number in it may be as long as the row."""


def read_rows(path: Path, make: Callable[[Any, int], T], what: str) -> Iterator[T]:
    """Yield what is made of each row; empty lines are passed over.

    Args:
        path: JSON Lines in UTF-8, packed with gzip or not.
        make: makes it, of a row's value and its number, from 0; raises what Python raises where a
            value is not as expected.
        what: what a row should be, in words.

    Raises:
        InputError: the file cannot be opened or is damaged, or a row is not JSON, or nothing can be
            made of it.
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
        raise InputError(f"{path}: cannot be read: {error}") from error
