"""A share as an estimate."""

from __future__ import annotations

from ...monitor.intervals import wilson
from .estimate import Estimate, unknown

__all__ = ["share"]


def share(hits: int, of: int) -> Estimate:
    """Return a share with Wilson's interval; unknown if `of` is 0."""
    return Estimate(hits / of, *wilson(hits, of), "Wilson", of) if of else unknown("of none", 0)
