"""Numbers in words."""

from __future__ import annotations

__all__ = ["many", "percent"]


def many(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count in words that agree with it: "1 trace", "2,000 traces".

    Args:
        count: The count.
        noun: What is counted, in the singular.
        plural: Its plural, if that does not just end in an s.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def percent(share: float) -> str:
    """Return a share of more than nothing in percent; one that rounds to 0.0% does not look like nothing."""
    return f"{share:.1%}" if share >= 0.0005 else "less than 0.1%"
