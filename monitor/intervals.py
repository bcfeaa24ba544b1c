"""Confidence intervals for shares, and quantiles of counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import ceil, floor, sqrt
from statistics import NormalDist

__all__ = ["quantile", "wilson"]


def wilson(hits: float, of: float) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share (Wilson, 1927).

    It stays inside [0, 1] and is reliable for small counts.

    Args:
        hits: The number of hits; a fraction if `of` is an effective sample size.
        of: The number of trials; 0 gives the interval (0, 1).
    """
    if of == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    share, weight = hits / of, z * z / of
    half = z * sqrt((share * (1 - share) + weight / 4) / of)
    low, high = (share + weight / 2 - half), (share + weight / 2 + half)
    return max(0.0, low / (1 + weight)), min(1.0, high / (1 + weight))


def quantile(counts: Sequence[int], share: float) -> float | None:
    """Return a quantile of the values 0, 1, 2, … that occur `counts` times; None if there are none.

    As `numpy.quantile` by default: between two values, it is interpolated, so that the median of an even
    number of values is the mean of the two in the middle.
    """
    reached = list(accumulate(counts))
    if not reached or not reached[-1]:
        return None
    rank = share * (reached[-1] - 1)
    below, above = (
        next(n for n, count in enumerate(reached) if count > end) for end in (floor(rank), ceil(rank))
    )
    return below + (rank - floor(rank)) * (above - below)
