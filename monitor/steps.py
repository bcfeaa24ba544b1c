"""Cuts reasoning into steps while it is being written.

The same text gives the same steps however it is split into chunks, and a returned step never changes:
the end of a step is decided from the characters alone (boundaries.py), and only once all characters
that matter have arrived.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from typing import Self

from ..errors import UsageError
from . import boundaries
from .boundaries import LOOKAHEAD, Scanner
from .protected import LINE_BREAKS

__all__ = ["MAX_CHARS", "STRATEGIES", "Step", "StepSegmenter", "segment"]

STRATEGIES: tuple[str, ...] = tuple(boundaries.STRATEGIES)
"""The names of the strategies."""

MAX_CHARS = 1000
"""The default maximum length of a step, in characters."""

_VISIBLE = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `text` is exactly `source[start:end]`, without white space around it."""

    text: str
    start: int
    end: int


class StepSegmenter:
    """Cuts a text that arrives in chunks into steps.

    Steps are in order, do not overlap, and together contain every character that is not white space.
    A step that does not end is closed at `max_chars`, so that nothing can hide in it. The cost is
    linear in the length of the text, even with chunks of one character.

    Args:
        strategy: What a step is.
            `sentence` (default): a sentence, a list item, a heading, a formula on its own.
            `discourse`: a sentence, but a lead-in ("This gives:") keeps what it introduces.
            `paragraph`: the text between two blank lines.
            `window`: as many whole words as fit into `max_chars`.
        max_chars: The maximum length of a step, in characters. A longer step is cut at white space, in a
            code fence at a line end; if there is none, at exactly this length.

    Raises:
        UsageError: No such strategy, or `max_chars` is below 1.

    Examples:
        >>> segmenter = StepSegmenter()
        >>> segmenter.feed("It is about 3.14, as Dr. Lee said. Wa")
        [Step(text='It is about 3.14, as Dr. Lee said.', start=0, end=34)]
        >>> segmenter.close()
        [Step(text='Wa', start=35, end=37)]
    """

    def __init__(self, strategy: str = "sentence", max_chars: int = MAX_CHARS) -> None:
        if strategy not in boundaries.STRATEGIES:
            raise UsageError(f"unknown segmentation strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
        if max_chars < 1:
            raise UsageError(f"max_chars must be at least 1, not {max_chars}")
        self.strategy = strategy
        self.max_chars = max_chars
        self._view = max_chars + LOOKAHEAD
        self._may_end = boundaries.STRATEGIES[strategy].trigger.search
        self._scanner = Scanner(boundaries.STRATEGIES[strategy])
        self._open = ""
        self._chunks: list[str] = []
        self._length = 0
        self._offset = 0
        self._wake = 1
        self._closed = False

    def feed(self, text: str) -> list[Step]:
        """Take more text; return the steps that it closed.

        Raises:
            UsageError: The segmenter is closed.
        """
        if self._closed:
            raise UsageError("the segmenter is closed: make a new one for each text")
        may_close = self.may_close(text)
        self._chunks.append(text)
        self._length += len(text)
        return self._advance(final=False) if may_close else []

    def may_close(self, text: str) -> bool:
        """Check cheaply whether feeding `text` could close a step; False is certain."""
        return self._length + len(text) >= self._wake or self._may_end(text) is not None

    def closes(self, text: str) -> bool:
        """Check exactly whether feeding `text` would close a step; may cost as much as feeding it."""
        return self.may_close(text) and bool(self.fork().feed(text))

    def fork(self) -> Self:
        """Return an independent copy that continues from here."""
        other = copy(self)
        other._chunks = self._chunks.copy()
        other._scanner = self._scanner.fork()
        return other

    def close(self) -> list[Step]:
        """End the text; return the steps that are still open."""
        self._closed = True
        return self._advance(final=True)

    def _advance(self, final: bool) -> list[Step]:
        """Close all steps that the text so far allows; keep the rest, which has a bounded length."""
        text = self._open + "".join(self._chunks)
        self._chunks.clear()
        steps = []
        at = 0
        while visible := _VISIBLE.search(text, at):
            at = visible.start()
            length = self._step_length(text[at : at + self._view], final)
            if not length:
                break
            start = self._offset + at
            steps.append(Step(text[at : at + length], start, start + length))
            at += length
        else:
            at, self._wake = len(text), 1
        self._open = text[at:]
        self._offset += at
        self._length = len(self._open)
        return steps

    def _step_length(self, view: str, final: bool) -> int:
        """Return the length of the step at the start of `view`; 0 if it is not known yet."""
        end = self._scanner.find(view, final)
        full = len(view) == self._view
        if end < 0 and not (final or full):
            self._wake = min(self._scanner.wake, self._view)
            return 0
        if end < 0 and not full:
            end = len(view.rstrip())
        if not 0 <= end <= self.max_chars:
            end = self._bounded(view)
        self._scanner.begin(end)
        return end

    def _bounded(self, view: str) -> int:
        """Return where to close a step that is longer than `max_chars`."""
        window = view[: self.max_chars + 1]
        if self._scanner.fenced_at(self.max_chars):
            last_break = max(map(window.rfind, LINE_BREAKS))
            if last_break > 0:
                return len(window[:last_break].rstrip())
        if window[-1].isspace():
            return len(window.rstrip())
        head, *rest = window.rsplit(None, 1)
        return len(head) if rest else self.max_chars


def segment(text: str, strategy: str = "sentence", max_chars: int = MAX_CHARS) -> list[Step]:
    """Cut a whole text into steps, as `StepSegmenter` does.

    Examples:
        >>> [step.text for step in segment("First, add them: 1.5 + 2. Wait, is it 3?")]
        ['First, add them: 1.5 + 2.', 'Wait, is it 3?']
    """
    segmenter = StepSegmenter(strategy, max_chars)
    return segmenter.feed(text) + segmenter.close()
