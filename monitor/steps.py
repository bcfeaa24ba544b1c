"""Cuts reasoning into steps while it is being written.

The same text gives the same steps however it is cut into chunks, and a step once returned never
changes. That holds because a step's end is decided from the characters alone (boundaries.py), and
only once those that matter have come.
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
"""The names that `StepSegmenter` takes."""

MAX_CHARS = 1000
"""The longest step unless another bound is asked for, in characters."""

_VISIBLE = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `text` is exactly `source[start:end]`, without space around it."""

    text: str
    start: int
    end: int


class StepSegmenter:
    """Cuts a text that comes in chunks into steps.

    Steps come in order, do not overlap, and between them hold every character that is not space.
    A step that does not end is closed at `max_chars`, so that nothing can hide in it. The cost is
    linear in the text, in chunks of one character too.

    Args:
        strategy: What a step is.
            `sentence` (default): a sentence, a list item, a heading, a formula on its own.
            `discourse`: a sentence, but a lead-in ("This gives:") keeps what it introduces.
            `paragraph`: what stands between blank lines.
            `window`: as many whole words as `max_chars` holds.
        max_chars: The longest step, in characters. It is cut at space, in a code fence at a line
            end; where there is none, at exactly this length.

    Raises:
        UsageError: No such strategy, or a bound below 1.

    Examples:
        >>> segmenter = StepSegmenter()
        >>> segmenter.feed("It is about 3.14, as Dr. Lee said. Wa")
        [Step(text='It is about 3.14, as Dr. Lee said.', start=0, end=34)]
        >>> segmenter.close()
        [Step(text='Wa', start=35, end=37)]
    """

    def __init__(self, strategy: str = "sentence", max_chars: int = MAX_CHARS) -> None:
        if strategy not in boundaries.STRATEGIES:
            raise UsageError(f"no segmentation strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
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
            raise UsageError("this segmenter is closed; make one for each text")
        may_close = self.may_close(text)
        self._chunks.append(text)
        self._length += len(text)
        return self._advance(final=False) if may_close else []

    def may_close(self, text: str) -> bool:
        """Whether feeding this text could close a step; False is certain, and cheap to know."""
        return self._length + len(text) >= self._wake or self._may_end(text) is not None

    def closes(self, text: str) -> bool:
        """Whether feeding this text would close a step; costs as much as feeding it, where it might."""
        return self.may_close(text) and bool(self.fork().feed(text))

    def fork(self) -> Self:
        """Return a segmenter that goes on from here on its own, and leaves this one as it is."""
        other = copy(self)
        other._chunks = self._chunks.copy()
        other._scanner = self._scanner.fork()
        return other

    def close(self) -> list[Step]:
        """Say that the text ends here; return the steps still open."""
        self._closed = True
        return self._advance(final=True)

    def _advance(self, final: bool) -> list[Step]:
        """Close what can be closed of the text that has come; keep the rest, which is bounded."""
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
        """The length of the step that begins `view`; 0 if it cannot be told yet."""
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
        """Where to close a step that does not end within the bound."""
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
