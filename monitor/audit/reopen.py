"""Read saved verdicts, each together with the record that it was given to.

A verdict contains no text, only where its trace was read. The texts are read again from there with the
audit's own readers. A text is paired with a verdict only if it is the text that was judged, as far as
can be determined: the same file, row, turn, id and format, and steps and marks at matching positions.
Otherwise the record says why the text is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePath
from tempfile import TemporaryFile
from typing import IO, TypeAlias

from ...classifiers.contract import CHANNELS
from ...errors import UndertowError
from ..trace import NotAssessed, Origin, Trace, Unreadable
from ..verdict import Mark, StepVerdict, TraceVerdict, steps_of
from .finding import find
from .places import STDIN, Place
from .readers import reader_named
from .sources import Record, Source, open_sources
from .verdicts import read_verdicts

__all__ = ["fits", "reopen", "shared_end"]

_Place: TypeAlias = tuple[int | None, int | None]
"""The row of a record, and the turn within the row."""

_OPEN = 32
"""Maximum number of transcripts kept open."""


def reopen(
    paths: Iterable[str | Path] | str | Path,
    *,
    transcripts: Iterable[str | Path] = (),
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
) -> Iterator[tuple[Record, TraceVerdict]]:
    """Read verdicts, and find the record of each verdict again.

    If the verdicts are in the order of their transcripts, as an audit writes them, each transcript is read
    once; otherwise it is copied to a temporary file. Memory does not grow with the texts.

    Args:
        paths: Files of verdicts written by an audit with `out`.
        transcripts: The current files or directories of the transcripts, if they were moved. They are
            identified by file name and, if several have the same name, by their parent directories.
        format: As given to `audit`, if it was.
        mapping: As given to `audit`, if it was.

    Yields:
        A pair for each verdict, in order. If its text was not found, or is not the text that was judged,
        the record is an `Unreadable` whose problem says so.

    Raises:
        InputError: A file of verdicts or of `transcripts` cannot be read, or a line is not a verdict.
        UsageError: The format does not exist, or the mapping is invalid.
    """
    reader_named(format, mapping)  # each transcript is opened late, and its errors are no reason to end
    with closing(_Library(find(transcripts), format, mapping)) as library:
        for path in [paths] if isinstance(paths, str | Path) else paths:
            for verdict in read_verdicts(path):
                yield library.record(verdict), verdict


class _Library:
    """The transcripts that verdicts refer to."""

    def __init__(self, moved: Sequence[Place], format: str | None, mapping: Mapping[str, str] | None) -> None:
        self._moved, self._format, self._mapping = moved, format, mapping
        self._shelves: dict[str, _Shelf | str] = {}

    def record(self, verdict: TraceVerdict) -> Record:
        """Return the record of a verdict, or an `Unreadable` that says why it was not found."""
        found = self._found(verdict)
        if not isinstance(found, str):
            return found
        problem = NotAssessed(reason="no_text", detail=found)
        return Unreadable(id=verdict.id, origin=verdict.origin, problem=problem)

    def close(self) -> None:
        for shelf in self._shelves.values():
            _close(shelf)

    def _found(self, verdict: TraceVerdict) -> Record | str:
        name = verdict.origin.path
        if name is None:
            return "the verdict does not say where its trace was read"
        if name not in self._shelves:
            while len(self._shelves) >= _OPEN:
                _close(self._shelves.pop(next(iter(self._shelves))))
            self._shelves[name] = self._shelf(name)
        shelf = self._shelves[name]
        if isinstance(shelf, str):
            return shelf
        record = shelf.find(_place(verdict.origin))
        if record is None:
            return f"{name} no longer has the row that was judged"
        return record if _same(record, verdict) else f"the row in {name} has changed since it was judged"

    def _shelf(self, name: str) -> _Shelf | str:
        """Open the transcript with this name, or return the reason if that fails."""
        if name == STDIN:
            return "it was read from standard input, which cannot be read again"
        place = self._where(name)
        if place is None:
            return f"several of the given transcripts match {name}"
        if place.path is not None and "://" in name:
            return f"{name} is a URL, which is read again only if --transcripts names it"
        if place.path is not None and not place.path.is_file():
            return f"{name} no longer exists; name its new place with --transcripts"
        try:
            (source,) = open_sources(place.name, format=self._format, mapping=self._mapping)
        except UndertowError as error:
            return f"cannot read {name} again: {error}"
        return _Shelf(source)

    def _where(self, name: str) -> Place | None:
        """Return where a transcript is now, or None if several places are equally likely.

        A URL is fetched only if the user names it, since a URL in a file of verdicts may lead anywhere.
        """
        shared = {place.name: shared_end(PurePath(place.name), PurePath(name)) for place in self._moved}
        most = max(shared.values(), default=0)
        best = [place for place in self._moved if shared[place.name] == most]
        if most == 0:
            return Place(name, Path(name))
        return best[0] if len(best) == 1 else None


def _close(shelf: _Shelf | str) -> None:
    if isinstance(shelf, _Shelf):
        shelf.close()


def shared_end(path: PurePath, other: PurePath) -> int:
    """Return how many parts two paths have in common, counted from their ends."""
    pairs = zip(reversed(path.parts), reversed(other.parts), strict=False)
    return next(
        (index for index, (a, b) in enumerate(pairs) if a != b), min(len(path.parts), len(other.parts))
    )


class _Shelf:
    """The records of one transcript, streamed if requested in order, else copied to a temporary file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._next = (record for record, _ in source.records())
        self._aside: tuple[dict[_Place, int], IO[bytes]] | None = None

    def find(self, place: _Place) -> Record | None:
        """Return the record that was read at `place`, or None."""
        if self._aside is None:
            for record in self._next:
                if _place(record.origin) == place:
                    return record
                if (record.origin.row or 0) > (place[0] or 0):
                    break
            self._next.close()
            self._aside = self._set_aside()
        offsets, file = self._aside
        if place not in offsets:
            return None
        file.seek(offsets[place])
        value = json.loads(file.readline())
        return (Unreadable if "problem" in value else Trace).model_validate(value)

    def close(self) -> None:
        self._next.close()
        if self._aside is not None:
            self._aside[1].close()

    def _set_aside(self) -> tuple[dict[_Place, int], IO[bytes]]:
        """Copy all records to a temporary file, and return the offset of each."""
        offsets: dict[_Place, int] = {}
        file = TemporaryFile()  # noqa: SIM115  (lives as long as the shelf)
        for record, _ in self._source.records():
            offsets.setdefault(_place(record.origin), file.tell())
            own = {"metadata": record.metadata} if isinstance(record, Trace) else {}
            file.write(json.dumps(record.model_dump(exclude={"metadata"}) | own).encode() + b"\n")
        return offsets, file


def _place(origin: Origin) -> _Place:
    return origin.row, origin.turn


def _same(record: Record, verdict: TraceVerdict) -> bool:
    """Whether a record is the one that was judged, as far as its verdict tells."""
    if (record.id, record.origin.format) != (verdict.id, verdict.origin.format):
        return False
    return fits(record, verdict)


def fits(record: Record, verdict: TraceVerdict) -> bool:
    """Whether a verdict's steps and marks lie in a record's texts as they did in those that were judged."""
    if isinstance(record, Unreadable):
        return not verdict.steps
    marks = [mark for found in verdict.channels for mark in (found.onset, found.alarm) if mark is not None]
    return all(
        _fits(
            getattr(record, channel) or "",
            steps_of(verdict, channel),
            [mark for mark in marks if mark.channel == channel],
        )
        for channel in CHANNELS
    )


def _fits(text: str, steps: Sequence[StepVerdict], marks: Sequence[Mark]) -> bool:
    """Return whether the steps cover all of a text but white space, and the marks' fractions match it."""
    done = 0
    for step in steps:
        if step.end > len(text) or text[step.start].isspace() or not _blank(text[done : step.start]):
            return False
        done = step.end
    return _blank(text[done:]) and all(abs(mark.start / len(text) - mark.fraction) < 1e-6 for mark in marks)


def _blank(text: str) -> bool:
    return not text or text.isspace()
