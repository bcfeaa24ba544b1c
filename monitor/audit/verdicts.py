"""Read saved verdicts one by one, from any of the writers' formats.

A line that is not a verdict raises an error with its line number instead of being skipped, since a
report on the remaining verdicts would have wrong counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from ...classifiers.contract import CHANNELS
from ...errors import InputError, first_line
from ..verdict import SCHEMA, ChannelVerdict, Mark, Peak, TraceVerdict, steps_of
from .files import LINE_LIMIT
from .plain import plain
from .readers import reader_of
from .readers.contract import kind
from .writers import parquet, sqlite

__all__ = ["read_verdicts"]

_BOM = b"\xef\xbb\xbf"
_PARQUET = b"PAR1"
_SQLITE = b"SQLite format 3\0"


def read_verdicts(path: str | Path) -> Iterator[TraceVerdict]:
    """Yield the verdicts of a file that an audit wrote, in order.

    The format is detected from the first bytes. A folder stands for the Parquet files in it, as written by
    a run on a cluster. Blank lines are skipped.

    Raises:
        InputError: The file cannot be read, contains no verdicts, or has a line that is not a verdict.
        MissingExtra: The file is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    if path.is_dir():
        parts = sorted(path.glob("*.parquet"))
        if not parts:
            raise InputError(f"{path} is not a folder of verdicts: it contains no .parquet file")
        yield from chain.from_iterable(map(read_verdicts, parts))
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_SQLITE))
            file.seek(0)
            if start.startswith(_PARQUET):
                yield from _rows(parquet.read(path), path)
            elif start == _SQLITE:
                yield from _rows(sqlite.read(path), path)
            else:
                yield from _verdicts(file, path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _verdicts(file: BinaryIO, path: Path) -> Iterator[TraceVerdict]:
    found, number = 0, 0
    while line := file.readline(LINE_LIMIT + 1):
        number += 1
        line = line.removeprefix(_BOM if number == 1 else b"").strip()
        if line:
            yield _verdict(line, path, f"line {number}", first=not found)
            found += 1
    if not found:
        raise _empty(path)


def _rows(lines: Iterable[bytes], path: Path) -> Iterator[TraceVerdict]:
    """Yield the verdicts of a file that consists of rows, not lines."""
    number = 0
    for number, line in enumerate(lines, start=1):
        yield _verdict(line, path, f"row {number}", first=False)
    if not number:
        raise _empty(path)


def _empty(path: Path) -> InputError:
    return InputError(f"{path} contains no verdicts")


def _verdict(line: bytes, path: Path, where: str, *, first: bool) -> TraceVerdict:
    try:
        verdict = TraceVerdict.model_validate_json(line)
        problem = _unsound(verdict)
    except ValidationError as error:
        if first and (what := _what(line)):
            raise InputError(f"{path} is not a file of verdicts: {what}") from None
        problem = plain(first_line(error), 200)
    if problem:
        raise InputError(f"{path}: {where} is not a verdict ({problem}); run the audit again")
    return verdict


def _unsound(verdict: TraceVerdict) -> str:
    """Return why a verdict is inconsistent (its steps, risks or marks), or an empty string."""
    for channel in CHANNELS:
        steps = steps_of(verdict, channel)
        if [step.index for step in steps] != list(range(len(steps))):
            return f"the steps of the {channel} are not numbered from 0"
        if any(step.start >= step.end for step in steps) or any(
            before.end > after.start for before, after in pairwise(steps)
        ):
            return f"the steps of the {channel} are not in order"
        if any(step.risk is not None and not 0 <= step.risk <= 1 for step in steps):
            return f"a step of the {channel} has a risk that is not a probability"
        if any(mark.step >= len(steps) for mark in _marks(verdict, channel)):
            return f"a mark in the {channel} refers to a step that does not exist"
    return ""


def _marks(verdict: TraceVerdict, channel: str) -> Iterator[Mark | Peak]:
    holders: Sequence[TraceVerdict | ChannelVerdict] = (verdict, *verdict.channels)
    for holder in holders:
        for mark in (holder.onset, holder.alarm, holder.peak):
            if mark is not None and mark.channel == channel:
                yield mark


def _what(line: bytes) -> str:
    """Describe a first line that is something other than a broken verdict; else return an empty string."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return "its first line is not JSON"
    if not isinstance(value, dict):
        return f"its first line is {kind(value)}"
    schema = value.get("schema")
    if schema == SCHEMA:
        return ""
    if isinstance(schema, str):
        return f"its schema is {plain(schema)}, but this version reads {SCHEMA}"
    if reader_of(value) is not None:
        return "it looks like transcripts; judge them with `undertow audit --out FILE.jsonl`"
    return f"its first line is an object without the schema {SCHEMA}"
