"""Confidence intervals for shares."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

__all__ = ["wilson"]


def wilson(hits: float, of: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson, 1927).

    It stays inside [0, 1] and is reliable for small counts.

    Args:
        hits: The number of hits; a fraction if `of` is an effective sample size.
        of: The number of trials; 0 gives the interval (0, 1).
        level: The confidence level.
    """
    if of == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, weight = hits / of, z * z / of
    half = z * sqrt((share * (1 - share) + weight / 4) / of)
    low, high = (share + weight / 2 - half), (share + weight / 2 + half)
    return max(0.0, low / (1 + weight)), min(1.0, high / (1 + weight))
