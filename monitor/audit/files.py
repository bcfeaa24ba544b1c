"""Read JSON as rows: JSON Lines, one JSON document, or objects printed one after the other; no row is lost.

JSON Lines are read line by line, whatever the file's length. A JSON document is held in
memory as text (up to `DOCUMENT_LIMIT`), but the members of a list are parsed one by one, so that
those before a break are kept. Anything unreadable becomes a `Broken` row, and reading continues
with the next row if there is one.

Reading is lenient where nothing is lost: it accepts a byte order mark, blank lines, NaN and
Infinity, raw control characters in strings, duplicate keys (the last one counts), and lone
surrogates, each of which is read as U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from ...errors import InputError
from .places import Place, Stream

__all__ = ["DOCUMENT_LIMIT", "LINE_LIMIT", "Broken", "Row", "json_rows", "json_within"]

LINE_LIMIT = 256 * 2**20
"""Length limit of a line, in bytes."""

DOCUMENT_LIMIT = 512 * 2**20
"""Length limit of a JSON document, in bytes."""

_CONTAINERS = ("data", "rows", "records", "traces", "transcripts", "samples", "examples", "results", "items")
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(r"[ \t\r\n]*")
_FOREIGN_BYTE = re.compile("[\ud800-\udfff]")  # as decoded with "surrogateescape"
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that cannot be read, with the reason; the detail contains none of its text."""

    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file."""

    index: int
    """Index of the row, counted from 0 without blank lines."""
    value: object
    """Any JSON value, or `Broken`."""
    read: int
    """Approximate end position of the row in the file, in bytes, for a progress bar."""


def json_rows(place: Place, is_row: Callable[[object], bool] = lambda _: False) -> Iterator[Row]:
    """Yield the rows of a JSON file.

    Args:
        place: The file.
        is_row: Returns whether an object or a list is a row. If the whole file is one object that is not a
            row, the rows are taken from its lists with the usual names (`data`, `rows`, …): from all lists
            that contain a row, or else from the first list that contains an object. If it is one list that
            is not a row, the rows are its members.

    Raises:
        InputError: The file cannot be opened or read, or is a list above `DOCUMENT_LIMIT`.
    """
    with place.open() as stream:
        text = _document(stream.file, place.name)
        damage = stream.damage()
    if text is None:
        with place.open() as stream:
            yield from _lines(stream)
    else:
        yield from _within(text, place.size, is_row, damage)


def _within(text: str, size: int, is_row: Callable[[object], bool], damage: str) -> Iterator[Row]:
    """Yield the rows of a document, and one more row for the damage if its end is damaged."""
    if text.startswith("["):
        found = _listed(text, size, is_row)
    elif _parse_at(text, 0)[1] < len(text):
        found = _printed(text, size)
    else:
        found = _single(text, size, is_row)
    index = -1
    for row in found:
        index = row.index
        yield row
    if damage:
        yield Row(index + 1, Broken(damage), size)


def _document(file: BinaryIO, name: str) -> str | None:
    """Return the whole text if the file is one JSON document, or None if it is JSON Lines."""
    first, raw = _first_line(file)
    if first is None or not first.startswith((b"[", b"{")):
        return None
    is_list = first.startswith(b"[")
    if not isinstance(_parse_line(first), Broken) and _goes_on(file):
        return None
    rest = _up_to(file, DOCUMENT_LIMIT + 1 - len(raw))
    if len(raw) + len(rest) > DOCUMENT_LIMIT:
        if is_list:
            limit = DOCUMENT_LIMIT // 2**20
            raise InputError(f"{name} is one JSON document larger than {limit} MiB; save it as JSON Lines")
        return None
    text = _mend((raw + rest).removeprefix(_BOM).decode("utf-8", "surrogateescape").strip(" \t\r\n"))
    value, end = _parse_at(text, 0)
    whole = isinstance(value, dict) and (end == len(text) or "\n" in text[:end])
    return text if is_list or whole else None


def _first_line(file: BinaryIO) -> tuple[bytes | None, bytes]:
    """Return the first line that is not blank, stripped (None if too long), and the same line unstripped."""
    while raw := file.readline(LINE_LIMIT + 1):
        line = raw.removeprefix(_BOM).strip(b" \t\r\n")
        if line:
            return (None, b"") if len(raw) > LINE_LIMIT else (line, raw)
    return b"", b""


def _goes_on(file: BinaryIO) -> bool:
    """Return whether the rest of the file contains anything that is not blank."""
    while block := file.read(2**16):
        if block.strip(b" \t\r\n"):
            return True
    return False


def _up_to(file: BinaryIO, limit: int) -> bytes:
    """Read `limit` bytes, or as many as there are."""
    blocks, left = [], limit
    while left > 0 and (block := file.read(min(left, 2**20))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def _lines(stream: Stream) -> Iterator[Row]:
    """Yield a row for each line that is not blank, and one more for the damage if the file is damaged."""
    index = 0
    for number, line in enumerate(_raw_lines(stream.file), start=1):
        if line == b"":
            continue
        value = Broken(f"longer than {LINE_LIMIT // 2**20} MiB") if line is None else _parse_line(line)
        if isinstance(value, Broken):
            value = Broken(f"line {number}: {value.detail}")
        yield Row(index, value, stream.done())
        index += 1
    if damage := stream.damage():
        yield Row(index, Broken(damage), stream.done())


def _raw_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield each line stripped of white space, or None if it is too long."""
    bom = _BOM
    while line := file.readline(LINE_LIMIT + 1):
        bare = line.removeprefix(bom).strip(b" \t\r\n")
        bom = b""
        if len(line) > LINE_LIMIT:
            while line and not line.endswith(b"\n"):
                line = file.readline(2**20)
            yield None
        else:
            yield bare


def _listed(text: str, size: int, is_row: Callable[[object], bool]) -> Iterator[Row]:
    """Return the rows of the list in `text`: the whole list if it is a row, or else its members."""
    first, _ = _parse_at(text, _skip(text, 1))
    if is_row([first]) and not _FOREIGN_BYTE.search(text) and is_row(value := _parse(text)):
        return iter([Row(0, value, size)])
    return _members(text, size)


def _members(text: str, size: int) -> Iterator[Row]:
    """Yield the members of the list in `text`; a member that cannot be parsed ends the list."""
    index, at = 0, _skip(text, 1)
    while not (text.startswith("]", at) and index == 0):
        value, end = _parse_at(text, at)
        if isinstance(value, Broken):
            yield Row(index, Broken(f"{value.detail}; the rest of the list cannot be read"), size)
            return
        foreign = _FOREIGN_BYTE.search(text, at, end)
        yield Row(index, Broken("not UTF-8") if foreign else value, size * end // len(text))
        index, at = index + 1, _skip(text, end)
        if not text.startswith(",", at):
            break
        at = _skip(text, at + 1)
    if text[at:] != "]":
        yield Row(index, Broken("the list is cut off, or followed by other text"), size)


def _single(text: str, size: int, is_row: Callable[[object], bool]) -> Iterator[Row]:
    """Yield the rows within the single object in `text`, or the object itself."""
    value = Broken("not UTF-8") if _FOREIGN_BYTE.search(text) else _parse(text)
    inside: list[object] = [value]
    if isinstance(value, dict) and not is_row(value):
        lists = [value[name] for name in _CONTAINERS if isinstance(value.get(name), list)]
        known = [one for one in lists if any(isinstance(m, dict) and is_row(m) for m in one)]
        inside = list(chain(*known)) or next(
            (m for m in lists if any(isinstance(o, dict) for o in m)), inside
        )
    yield from (Row(index, member, size) for index, member in enumerate(inside))


def _printed(text: str, size: int) -> Iterator[Row]:
    """Yield objects that were printed one after the other, each over several lines."""
    index = at = 0
    while at < len(text):
        value, end = _parse_at(text, at)
        if isinstance(value, Broken):
            following = text.find("\n{", at + 1)
            end = following + 1 if following > 0 else len(text)
        foreign = _FOREIGN_BYTE.search(text, at, end)
        yield Row(index, Broken("not UTF-8") if foreign else value, size * end // len(text))
        index, at = index + 1, _skip(text, end)


def _skip(text: str, at: int) -> int:
    """Return the end position of the white space that begins at `at`."""
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _parse_line(line: bytes) -> object:
    """Return the JSON value of a line, or `Broken`."""
    try:
        return _parse(_mend(line.decode("utf-8")))
    except UnicodeDecodeError as error:
        return Broken(f"not UTF-8 (byte {error.start} of the row)")


def _parse(text: str) -> object:
    value, end = _parse_at(text, 0)
    if isinstance(value, Broken) or end == len(text):
        return value
    return Broken(f"text after the end of the JSON value (character {end} of the row)")


def _parse_at(text: str, start: int) -> tuple[object, int]:
    """Return the JSON value that begins at `start` (or `Broken`), and its end position."""
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return Broken(f"not JSON: {error.msg} (character {error.pos - start} of the row)"), start
    except RecursionError:
        return Broken("nested too deeply"), start
    except ValueError:  # an integer with more digits than Python converts
        return Broken("a number with too many digits"), start


def json_within(text: str) -> Any:
    """Decode JSON that is a text within a row, with the same lenience.

    Raises:
        ValueError: The text is not JSON.
        RecursionError: The JSON is nested too deeply.
    """
    return json.loads(_mend(text), strict=False)


def _mend(text: str) -> str:
    """Replace each escaped lone surrogate with U+FFFD; UTF-8 text cannot contain unescaped ones."""
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _ESCAPE.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], text)
