"""Rules for where a step of reasoning ends: the strategies of `StepSegmenter`, and their scanner.

A `Scanner` reads the text of one step from its first character and reports where the step ends, once
the text shows it. Every rule depends on characters alone, never on chunk borders. A rule that needs
characters that have not arrived yet waits (None); a decision, once made, holds for every continuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from typing import NamedTuple, Self

from .protected import FENCE, LINE_BREAKS, OPENING, fence_opens, span_end, span_wake
from .sentences import (
    SHORTEST,
    STOP,
    STOP_CHARS,
    WIDE_STOP,
    after_space,
    sentence_ends,
    wide_sentence_ends,
    word_at,
)

__all__ = ["LOOKAHEAD", "STRATEGIES", "Scanner", "Strategy"]

LOOKAHEAD = 64
"""How far beyond the longest step a rule may look, in characters."""

_WAIT, _GO_ON = -1, -2
_FOREVER = 1 << 62


class _Line(NamedTuple):
    """One line break, or several with only white space between them."""

    end: int
    """Where the text before the break ends."""
    after: int
    """Where the text after the break begins."""
    breaks: int


def _paragraph_line(text: str, line: _Line, final: bool) -> bool | None:
    """End a paragraph only at a blank line."""
    if line.breaks > 1:
        return True
    return False if final or line.after < len(text) else None


_ITEM = re.compile(r"(?:\d{1,3}|[a-z]|[ivx]{2,5})[.)]\s")
_ITEM_LIMIT = 7


def _sentence_line(text: str, line: _Line, final: bool) -> bool | None:
    """End a step at a line break, unless the next line continues in lower case, as wrapped text does."""
    if line.breaks > 1:
        return True
    if line.after == len(text):
        return False if final else None
    if text[line.end - 1] == ":" or not text[line.after].islower() or _ITEM.match(text, line.after):
        return True
    return False if final or line.after + _ITEM_LIMIT <= len(text) else None


_LABEL = re.compile(rf"[^\w{LINE_BREAKS}]{{0,4}}\w[\w '\u2019]{{0,23}}:")
_LABEL_LIMIT = 32
_CONTINUES = frozenset({"and", "first", "next", "or", "then"})


def _discourse_line(text: str, line: _Line, final: bool) -> bool | None:
    """End a step at a line break without a full stop only if a new thought or a heading follows.

    So a lead-in ("This gives:") stays with the formula or the list that it introduces, and the
    lines of a calculation, a list or a table of "label: value" stay together.
    """
    if not final and line.after + _LABEL_LIMIT > len(text):
        return None
    if line.after == len(text) or text[line.end - 1] == ":":
        return False
    if text[line.after] == "#":
        return True
    word, _ = word_at(text, line.after)
    return _begins_prose(word) and word.lower() not in _CONTINUES and not _LABEL.match(text, line.after)


def _begins_prose(word: str) -> bool:
    """Return whether a line whose first word is `word` is prose, not a formula or a list item."""
    if not word[:1].isalpha() or word[0].islower() or "_" in word:
        return False
    return word in ("A", "I") if len(word) == 1 and word.isupper() else not word[1:2].isupper()


_Rule = Callable[[str, "re.Match[str]", bool], bool | None]


class Strategy(NamedTuple):
    """The rules that decide where a step ends. Each returns None if it needs more text."""

    line: Callable[[str, _Line, bool], bool | None]
    """Decides whether a line break ends the step."""
    stops: dict[str, _Rule]
    """Decide whether a sentence-ending mark ends the step, by the name of the token's group."""
    tokens: re.Pattern[str]
    """Matches the places to examine; the name of the matching group selects the rule."""
    trigger: re.Pattern[str]
    """Matches some character of every token: until `Scanner.wake`, text without a match ends no step."""


_TOKENS = rf"(?P<fence>`{{3,}})|(?P<span>{OPENING})|(?P<line>[{LINE_BREAKS}])"
_CHARS = rf"`$\\{LINE_BREAKS}"
_PROSE = re.compile(rf"{_TOKENS}|{STOP}|{WIDE_STOP}"), re.compile(rf"[{_CHARS}{STOP_CHARS}]")
_LINES = re.compile(_TOKENS), re.compile(f"[{_CHARS}]")
_NOTHING = re.compile(r"(?!)"), re.compile(r"(?!)")
_SENTENCES: dict[str, _Rule] = {"stop": sentence_ends, "wide": wide_sentence_ends}

STRATEGIES: dict[str, Strategy] = {
    "sentence": Strategy(_sentence_line, _SENTENCES, *_PROSE),
    "paragraph": Strategy(_paragraph_line, {}, *_LINES),
    "discourse": Strategy(_discourse_line, _SENTENCES, *_PROSE),
    "window": Strategy(_paragraph_line, {}, *_NOTHING),
}
"""The strategies by name. `window` never finds an end, so every step is as long as allowed."""


class Scanner:
    """Finds the end of one step after another, and remembers how far it has read in the current one."""

    def __init__(self, strategy: Strategy) -> None:
        self.wake = 1
        """The length of text at which to look again even if no trigger came."""
        self._strategy = strategy
        self._pos = 0
        self._fenced = False
        self._fences: list[int] = []

    def fork(self) -> Self:
        """Return an independent copy that continues from here."""
        other = copy(self)
        other._fences = self._fences.copy()
        return other

    def begin(self, end: int) -> None:
        """Move on to the next step; the current one ends at `end`."""
        self._fenced = self.fenced_at(end)
        self._fences.clear()
        self._pos = 0
        self.wake = 1

    def fenced_at(self, pos: int) -> bool:
        """Return whether `pos` lies in a code fence, as far as the text has been read."""
        return self._fenced ^ bool(sum(fence <= pos for fence in self._fences) % 2)

    def find(self, text: str, final: bool) -> int:
        """Return where the step at the start of `text` ends, or -1 if the text does not show it."""
        self.wake = _FOREVER
        while True:
            fenced = self._fenced ^ bool(len(self._fences) % 2)
            token = (FENCE if fenced else self._strategy.tokens).search(text, self._pos)
            if token is None:
                self._pos = max(self._pos, len(text) - 2) if fenced else len(text)
                return _WAIT
            kind = "fence" if fenced else token.lastgroup
            self._pos = token.start()
            if kind == "fence":
                end = self._fence(text, token, fenced, final)
            elif kind == "span":
                end = self._span(text, token, final)
            elif kind == "line":
                end = self._line(text, token, final)
            else:
                end = self._stop(text, token, final)
            if end != _GO_ON:
                return end

    def _fence(self, text: str, marks: re.Match[str], fenced: bool, final: bool) -> int:
        turns: bool | None
        if fenced:
            turns = True if final or marks.end() < len(text) else None
        else:
            turns = fence_opens(text, marks, final)
        if turns:
            self._fences.append(marks.end())
        return self._answer(None if turns is None else False, text, marks.end())

    def _span(self, text: str, mark: re.Match[str], final: bool) -> int:
        behind = span_end(text, mark.start(), mark[0], final)
        if behind is None:
            self.wake = span_wake(text, mark.start())
            return _WAIT
        self._pos = behind
        return _GO_ON

    def _line(self, text: str, line_break: re.Match[str], final: bool) -> int:
        end = len(text[: line_break.start()].rstrip())
        line = _Line(end, *after_space(text, line_break.start()))
        decision = end >= SHORTEST and self._strategy.line(text, line, final)
        return self._answer(decision, text, line.after, end)

    def _stop(self, text: str, stop: re.Match[str], final: bool) -> int:
        decision = self._strategy.stops[str(stop.lastgroup)](text, stop, final)
        return self._answer(decision, text, stop.end(), stop.end())

    def _answer(self, ends: bool | None, text: str, go_on: int, end: int = _GO_ON) -> int:
        """Turn a rule's decision into `end`, `_GO_ON` (at `go_on`) or `_WAIT` (for one more character)."""
        if ends is None:
            self.wake = len(text) + 1
            return _WAIT
        self._pos = go_on
        return end if ends else _GO_ON
