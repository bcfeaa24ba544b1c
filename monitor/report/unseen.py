"""Makes characters visible that a reader cannot see.

A zero-width space hides a word from a search, a right-to-left override shows a line in another order
than it was written, and a lone surrogate cannot be written to a file at all. Each is shown by its
number, such as `[U+202E]`. The page's script uses the same pattern.
"""

from __future__ import annotations

import re

__all__ = ["UNSEEN", "visible"]

_RANGES = (
    "\x00-\x08",  # controls; tab, line feed and carriage return are ordinary white space
    "\x0b-\x0c",
    "\x0e-\x1f",
    "\x7f-\x9f",
    "\u00ad",  # soft hyphen
    "\u034f",
    "\u061c",
    "\u115f-\u1160",  # fillers, which look like spaces
    "\u17b4-\u17b5",
    "\u180b-\u180f",
    "\u200b-\u200f",  # zero-width characters and direction marks
    "\u2028-\u202e",  # line and paragraph separators, direction overrides
    "\u2060-\u206f",
    "\u3164",
    "\ud800-\udfff",  # lone surrogates
    "\ufeff",
    "\uffa0",
    "\ufff0-\ufffb",
    "\U000e0000-\U000e0fff",  # tags and variation selectors, which can carry hidden text
)

UNSEEN = f"[{''.join(_RANGES)}]"
"""A character class of literal characters, valid in both Python and JavaScript."""

_PATTERN = re.compile(UNSEEN)


def visible(text: str) -> str:
    """Return the text with every unseen character written as `[U+....]`."""
    return _PATTERN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)
