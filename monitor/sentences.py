"""Decides whether a full stop ends a sentence.

Full stops also occur in abbreviations, initials and the numbers of list items; an ellipsis may occur
anywhere. The rules look back at the preceding word and ahead at the next one, both within a bound.
None means that the text so far is not enough to decide.
"""

from __future__ import annotations

import re

from .protected import LINE_BREAKS

__all__ = [
    "SHORTEST",
    "STOP",
    "STOP_CHARS",
    "WIDE_STOP",
    "after_space",
    "sentence_ends",
    "wide_sentence_ends",
    "word_at",
]

_STOPS = ".?!…؟\u06d4।॥።"
_WIDE_STOPS = "。\uff01\uff1f｡"

STOP = rf"(?P<stop>(?P<marks>[{_STOPS}]++)(?P<closers>[\"'”\u2019)\]}}»*_]*+))"
"""Regular expression of full stops and similar marks, with the closing quotes and brackets after them."""

WIDE_STOP = rf"(?P<wide>[{_WIDE_STOPS}]++[”\u2019」』\uff09】》〉\u3015]*+)"
"""Regular expression of CJK marks, likewise with what closes after them."""

STOP_CHARS = _STOPS + _WIDE_STOPS

SHORTEST = 8
"""The fewest characters that end a step; fewer ("Hmm.", "Why?", "1.") are joined to what follows."""

SHORTEST_WIDE = 4
"""The same before a CJK mark: those scripts say more per character."""

_SPACE = re.compile(r"\s*")
_BREAK = re.compile(rf"\r\n|[{LINE_BREAKS}]")
_WORD = re.compile(r"[\"'“\u2018(\[*_]{0,8}([\w'\u2019]{0,24})")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES = _words("mr mrs ms mx dr prof rev hon gen sen rep gov capt col lt sgt st mt vs cf viz e.g i.e eg ie")
_BEFORE_NUMBERS = _words("no nos fig figs eq eqs sec ch vol p pp art ref refs")
_MAY_END = _words("etc al approx inc ltd co corp jr sr dept est a.m p.m ph.d ed eds")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]|[A-HJ-Z]")
_FIRST_WORDS = _words(
    "a an the this that these those there here it its it's he she they we you i i'm i'll i've my our their"
    " his her but and or so if in on at by for from to as when while where what who why how which then thus"
    " hence therefore however also maybe perhaps now next first second finally let let's wait hmm okay ok yes"
    " no not since because although though after before another other some many most all each both"
)
_LAST_WORD = re.compile(r"[^\s(\[\"'“\u2018*_/]*\Z")
_LAST_WORD_LIMIT = 16
_MARKER = re.compile(
    rf"(?:\A|[{LINE_BREAKS}])[^\w{LINE_BREAKS}]*+"
    r"(?:(?:step|phase|part|option|case|point)\s)?(?:\d{1,3}|[a-z]|[ivx]{2,5})\Z",
    re.IGNORECASE,
)
_MARKER_LIMIT = 24


def after_space(text: str, end: int) -> tuple[int, int]:
    """Return where the text after the white space at `end` begins, and the number of line breaks in it."""
    space = _SPACE.match(text, end)
    assert space is not None
    return space.end(), len(_BREAK.findall(space[0]))


def word_at(text: str, start: int) -> tuple[str, bool]:
    """Return the word at `start`, after opening quotes and marks, and whether it is known to be complete."""
    word = _WORD.match(text, start)
    assert word is not None
    return word[1], word.end() < len(text)


def sentence_ends(text: str, stop: re.Match[str], final: bool) -> bool | None:
    """Return whether a match of `STOP` ends a sentence; `text` begins where the step does."""
    end = stop.end()
    if end == len(text):
        return False if final else None
    if end < SHORTEST or not text[end].isspace():
        return False
    alone = stop[0] == "."
    if alone and _MARKER.search(text, max(0, end - _MARKER_LIMIT), end - 1):
        return False
    after, breaks = after_space(text, end)
    if breaks > 1:
        return True
    if after == len(text):
        return False if final else None
    return _ends_before(text, stop, after, breaks, final)


def _ends_before(text: str, stop: re.Match[str], after: int, breaks: int, final: bool) -> bool | None:
    """Return what `sentence_ends` does, given where the next word begins."""
    if stop[0] == ".":
        return _lone_stop_ends(text, stop.start(), after, final)
    word, whole = word_at(text, after)
    if not word and not whole and not final:
        return None
    first = word[:1] or text[after]
    if stop["marks"] == "…" or stop["marks"].startswith(".."):
        return breaks > 0 or (first.isalpha() and not first.islower())
    return not (stop["closers"] and first.islower())


def _lone_stop_ends(text: str, dot: int, after: int, final: bool) -> bool | None:
    """Return whether a lone full stop ends a sentence, or only an abbreviation."""
    last = _LAST_WORD.search(text, max(0, dot - _LAST_WORD_LIMIT), dot)
    last_word = last[0] if last else ""
    lowered = last_word.lower()
    if lowered in _TITLES:
        return False
    if lowered in _BEFORE_NUMBERS:
        return not text[after].isdecimal()
    if lowered not in _MAY_END and not _ACRONYM.fullmatch(last_word):
        return True
    word, whole = word_at(text, after)
    if not whole and not final:
        return None
    if word and not word[0].isupper():
        return False
    return lowered in _MAY_END or word.lower() in _FIRST_WORDS


def wide_sentence_ends(text: str, stop: re.Match[str], final: bool) -> bool | None:
    """Return whether a match of `WIDE_STOP` ends a sentence; no space is needed after it."""
    if stop.end() == len(text) and not final:
        return None
    return stop.end() >= SHORTEST_WIDE
