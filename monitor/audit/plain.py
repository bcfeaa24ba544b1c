"""Make untrusted names safe to print: they cannot move the cursor or reverse the line."""

from __future__ import annotations

__all__ = ["plain"]


def plain(text: str, limit: int = 60) -> str:
    """Return `text` on one line, at most `limit` characters long.

    Characters that are not printable (control characters, escape sequences, bidirectional overrides,
    line ends) become U+FFFD, so that an id or a field name from a transcript cannot forge output.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)
