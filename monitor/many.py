"""Counts with their noun."""

from __future__ import annotations

__all__ = ["many"]


def many(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count in words that agree with it: "1 trace", "2,000 traces".

    Args:
        count: The count.
        noun: What is counted, in the singular.
        plural: Its plural, if that does not just end in an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
