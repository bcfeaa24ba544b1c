"""Spans of reasoning that are kept whole: code fences, inline code, LaTeX.

What looks like the end of a sentence inside a span is not one. Inline code and LaTeX have a bounded
length, so an opening mark that is never closed hides nothing and delays nothing for long. A code fence
may have any length; `StepSegmenter` cuts it at line ends if it exceeds the maximum length of a step.

All functions read `text` from the first character of a step, and give the same answer however much
text follows; None means that the text so far is not enough to decide.
"""

from __future__ import annotations

import re

__all__ = ["FENCE", "LINE_BREAKS", "OPENING", "fence_opens", "span_end", "span_wake"]

LINE_BREAKS = "\n\r\x85\u2028\u2029"

SPAN_LIMIT = 300
"""The longest formula or inline code that is kept whole, in characters."""

OPENING = r"`|\$\$?|\\(?:[(\[]|\Z)"
"""Regular expression of the marks that may open a span other than a fence."""

FENCE = re.compile(r"`{3,}")

_FENCE_LIMIT = 32
_LINE_START = re.compile(rf"(?:\A|[{LINE_BREAKS}])[ \t>*+\-\d.)]*\Z")
_INFO_LINE = re.compile(rf"[\w+#.-]{{0,24}}+[ \t]{{0,4}}+(?:[{LINE_BREAKS}]|\Z)")

_LINE = rf"[^{LINE_BREAKS}]"
_N = SPAN_LIMIT
_CLOSED = {
    "`": re.compile(rf"`[^`{LINE_BREAKS}]{{1,{_N}}}+`"),
    "$": re.compile(rf"\$(?!\s)[^${LINE_BREAKS}]{{1,{_N}}}+(?<!\s)\$(?!\d)"),
    r"\(": re.compile(rf"\\\({_LINE}{{1,{_N}}}?\\\)"),
    "$$": re.compile(rf"\$\$(?s:.){{1,{_N}}}?\$\$"),
    r"\[": re.compile(rf"\\\[(?s:.){{1,{_N}}}?\\\]"),
}
_OPEN = {
    "`": re.compile(rf"`[^`{LINE_BREAKS}]{{0,{_N}}}|``"),
    "$": re.compile(rf"\$(?!\s)[^${LINE_BREAKS}]{{0,{_N}}}+\$?"),
    "\\": re.compile(r"\\"),
    r"\(": re.compile(rf"\\\({_LINE}{{0,{_N + 1}}}"),
    "$$": re.compile(rf"\$\$(?s:.){{0,{_N + 1}}}"),
    r"\[": re.compile(rf"\\\[(?s:.){{0,{_N + 1}}}"),
}
_PRICE = re.compile(r"\$\d[\d,.]{0,12}+[kKmMbB]?[,.;:!?)]{0,4}\s[A-Za-z]{2}")


def fence_opens(text: str, marks: re.Match[str], final: bool) -> bool | None:
    """Return whether three or more backticks outside a fence open one.

    They do at the start of a line, also after list or quote marks, or if at most an info string follows
    them on their line.
    """
    if marks.end() == len(text) and not final:
        return None
    if _LINE_START.search(text, max(0, marks.start() - _FENCE_LIMIT), marks.start()):
        return True
    info = _INFO_LINE.match(text, marks.end())
    if info is None:
        return False
    return True if info.end() < len(text) or final else None


def span_end(text: str, start: int, opening: str, final: bool) -> int | None:
    """Return where to read on: after the span that opens at `start`, or after `opening` if there is none."""
    if opening == "$" and _PRICE.match(text, start):
        return start + 1
    closed = _CLOSED[opening].match(text, start) if opening in _CLOSED else None
    if closed and (final or closed.end() < len(text) or opening != "$"):
        return closed.end()
    if not final and _OPEN[opening].fullmatch(text, start):
        return None
    return start + len(opening)


def span_wake(text: str, start: int) -> int:
    """Return the length of text at which to call `span_end` again if no mark comes before."""
    early = len(text) - start < _FENCE_LIMIT or text[-1] in "$`\\"
    return len(text) + 1 if early else start + SPAN_LIMIT + 6
