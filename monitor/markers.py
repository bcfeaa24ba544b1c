"""What a tag looks like, and how to find one in a text that is still being written.

A `Marker` is a tag: fixed text, with gaps of bounded length where attributes or a header may
stand. A `Scanner` finds the first marker of a set and, while more text may come, the place
from which the text could still be the beginning of one. Nothing before that place needs to
wait. What a scanner finds depends on the text alone, never on how it was cut into deltas.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from ..classifiers.contract import Channel

__all__ = ["Found", "Gap", "Marker", "Scanner", "Tells", "scanner_for"]

Found = tuple[int, int, "Marker | None"]
"""Start, end, marker. Without a marker: nothing begins before start, and the rest must wait."""

Tells = Literal["always", "first", "never"]
"""Whether seeing a marker shows which profile a text has: always, only as its first word, or never."""

_ANCHORS = {"anywhere": "", "line": r"(?<![^\n].)", "start": r"(?<![\s\S].)"}
# They stand after the first character, so that a search can skip to the characters that come first.


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of free text inside a marker."""

    chars: str
    """A character class in the syntax of `re`; what follows the gap must not begin with one of it."""
    least: Literal[0, 1] = 0
    most: int = 128

    @property
    def source(self) -> str:
        """The gap as a regular expression."""
        return f"{self.chars}{{{self.least},{self.most}}}+"


@dataclass(frozen=True, slots=True)
class Marker:
    """A tag that moves the text from one channel to another, and itself belongs to none."""

    parts: tuple[str | Gap, ...]
    """What it looks like: fixed text, case-exact, and gaps."""
    before: tuple[Channel, ...]
    """The channels in which it acts; elsewhere it is plain text. Where the channel before it is
    not known, the marker shows that it was the first of these."""
    after: Channel
    """The channel of the text that follows."""
    anchor: Literal["anywhere", "line", "start"] = "anywhere"
    """Where it counts: anywhere, at the start of a line, or at the start of the text."""
    kept: bool = False
    """True where the marker belongs to the text after it, as a tool call does."""
    tells: Tells = "always"
    pattern: re.Pattern[str] | None = None
    """A regular expression in place of `parts`."""
    window: int = 0
    """How many characters a `pattern` may span."""

    @property
    def opens(self) -> bool:
        """Whether reasoning begins here."""
        return self.after == "reasoning"

    @property
    def span(self) -> int:
        """The greatest length of the marker, in characters."""
        return self.window or sum(len(p) if isinstance(p, str) else p.most for p in self.parts)

    @property
    def units(self) -> list[str]:
        """Regular expressions that each take one character, or one gap."""
        units: list[str] = []
        for part in self.parts:
            units += [part.source] if isinstance(part, Gap) else map(re.escape, part)
        return [units[0] + _ANCHORS[self.anchor], *units[1:]]


class Scanner(Protocol):
    """Finds the first marker of a set."""

    def find(self, text: str, at: int, final: bool) -> Found:
        """Return the first marker that starts at `at` or later.

        Args:
            text: What is at hand; one character before `at` is looked at, and no more.
            at: Where to begin.
            final: True where no more text will come.

        Returns:
            Start, end and marker; without a marker, start is the place from which the text must
            wait, because it may be the beginning of one.
        """


class _Tree:
    """Markers by their units: one regular expression looks for all of them together."""

    def __init__(self, markers: Sequence[Marker]) -> None:
        self.marker: Marker | None = None
        self.branches: dict[str, _Tree] = {}
        for marker in markers:
            tree = self
            for unit in marker.units:
                tree = tree.branches.setdefault(unit, _Tree(()))
            tree.marker = tree.marker or marker

    def source(self, ends: str) -> str:
        """Return the expression of what may follow here.

        A marker ends in an empty group. `ends` is a further way out of its middle: with the end
        of the text as such, the beginning of a marker is found too, and then no group tells.
        """
        if self.marker is not None:
            return "()"
        return f"(?:{self.sources(ends)}{ends})"

    def sources(self, ends: str) -> str:
        """Return the expression of the branches."""
        return "|".join(unit + tree.source(ends) for unit, tree in self.branches.items())

    def leaves(self) -> list[Marker]:
        """Return the markers in the order of their groups."""
        if self.marker is not None:
            return [self.marker]
        return [marker for tree in self.branches.values() for marker in tree.leaves()]


class _PartScanner:
    """Markers made of parts."""

    def __init__(self, markers: Sequence[Marker]) -> None:
        tree = _Tree(markers)
        self._leaves = tree.leaves()
        self._final = re.compile(tree.sources(""))
        self._open = re.compile(tree.sources(r"|\Z"))

    def find(self, text: str, at: int, final: bool) -> Found:
        found = (self._final if final else self._open).search(text, at)
        if found is None:
            return len(text), len(text), None
        group = found.lastindex
        return found.start(), found.end(), None if group is None else self._leaves[group - 1]


class _PatternScanner:
    """Markers that are the user's own regular expressions.

    No one can tell the beginning of a match of any pattern, so the last `window` characters
    wait. A pattern sees one character before its start and `window` from it, always the same
    ones, so that lookarounds cannot depend on the deltas.
    """

    def __init__(self, markers: Sequence[Marker]) -> None:
        self._patterns = [(m, m.pattern) for m in markers if m.pattern is not None]
        self._window = max(m.window for m in markers)

    def find(self, text: str, at: int, final: bool) -> Found:
        stop = len(text) if final else max(at, len(text) - self._window + 1)
        for start in range(at, stop):
            context = min(start, 1)
            view = text[start - context : start + self._window]
            for marker, pattern in self._patterns:
                found = pattern.match(view, context)
                if found is not None and found.end() > context:
                    return start, start - context + found.end(), marker
        return stop, len(text), None


@lru_cache(maxsize=64)
def scanner_for(markers: tuple[Marker, ...]) -> Scanner:
    """Return the scanner of these markers; where two match at one place, the first counts."""
    if any(m.pattern is not None for m in markers):
        return _PatternScanner(markers)
    return _PartScanner(markers)
