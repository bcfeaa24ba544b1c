"""Read the rows of delimited text, such as CSV and TSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import PurePath
from typing import BinaryIO

from ..files import LINE_LIMIT, Broken, Row
from ..places import Place
from ..plain import plain

__all__ = ["delimited_rows", "delimiter_of"]

_DELIMITERS = ",\t;|"
_NAMED = {".csv": ",", ".tsv": "\t"}
_BOM = "\ufeff"


def delimiter_of(head: bytes, name: str, columns: frozenset[str]) -> str | None:
    """Return the column delimiter of a file, or None if it is not delimited text.

    Args:
        head: The beginning of the file.
        name: The file name; a `.csv` or `.tsv` extension marks the file as delimited text.
        columns: Column names; one of them in the first line marks the file as delimited text too.
    """
    first = head.decode("utf-8", "replace").removeprefix(_BOM).lstrip().partition("\n")[0].strip()
    if not first or first[0] in "[{":
        return None
    best = max(_DELIMITERS, key=lambda delimiter: _known(first, delimiter, columns))
    if _known(first, best, columns):
        return best
    endings = [suffix for suffix in PurePath(name.lower()).suffixes if suffix in _NAMED]
    return max(_DELIMITERS, key=lambda d: (first.count(d), d == _NAMED[endings[-1]])) if endings else None


def _known(first: str, delimiter: str, columns: frozenset[str]) -> int:
    try:
        names = next(csv.reader([first], delimiter=delimiter), [])
    except csv.Error:
        return 0
    return len(columns.intersection(names)) if len(names) > 1 else 0


def delimited_rows(place: Place, delimiter: str) -> Iterator[Row]:
    """Yield a row for each record after the header.

    A record with more or fewer cells than columns is broken, since some of its text is under the wrong
    name. A record with text in two columns of the same name is broken too. Empty cells are left out.
    """
    # The limit is process-wide and too low for transcripts; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
    with place.open() as stream:
        index, held, cut = 0, None, ""
        for index, (line, value) in enumerate(_records(stream.file, delimiter)):
            if held is not None:
                yield held
            held, cut = Row(index, value, stream.done()), f"line {line}: truncated"
        if held is not None and stream.damage():  # part of the last record may be missing
            yield Row(index, Broken(cut), stream.done())
            yield Row(index + 1, Broken(stream.damage()), stream.done())
        elif held is not None or stream.damage():
            yield held or Row(0, Broken(stream.damage()), stream.done())


def _records(file: BinaryIO, delimiter: str) -> Iterator[tuple[int, object]]:
    """Yield each record after the header, with the number of the line on which it ends."""
    reader = csv.reader(_texts(file), delimiter=delimiter, strict=True)
    names: list[str] = []
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, Broken(f"line {reader.line_num}: {error}")
            continue
        if cells and names:
            yield reader.line_num, _row(names, cells, reader.line_num)
        names = names or cells


def _texts(file: BinaryIO) -> Iterator[str]:
    """Yield lines of bounded length; a byte that is not UTF-8 becomes a lone surrogate."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        while line := text.readline(LINE_LIMIT):
            yield line
    finally:
        text.detach()


def _row(names: list[str], cells: list[str], line: int) -> object:
    if len(cells) != len(names):
        return Broken(f"line {line}: {len(cells)} cells, but the header has {len(names)} columns")
    if any("\ud800" <= character <= "\udfff" for cell in cells for character in cell if character > "\ud7ff"):
        return Broken(f"line {line}: not UTF-8")
    row: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=True):
        if cell and name and name in row:
            return Broken(f"line {line}: two columns are named {plain(name)}")
        if cell:
            row[name] = cell
    return row
