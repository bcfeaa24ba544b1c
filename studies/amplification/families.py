"""Corrections for many comparisons, and a test that a difference is negligible."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ...errors import UsageError
from .effects import AMPLIFICATION
from .estimate import Test
from .rates import Rates

__all__ = ["equivalence", "family_level", "holm"]


def holm(tests: Mapping[str, Test]) -> dict[str, Test]:
    """Adjust the p values of a family of tests (Holm, 1979).

    The chance of one or more false rejections in the whole family is at most the level used.

    Args:
        tests: The tests by name. These are the family, so choose them beforehand.
    """
    if not tests:
        return {}
    adjusted = multipletests([test.p for test in tests.values()], method="holm")[1]
    return {
        name: Test(float(p), f"{test.method}; Holm over {len(tests)}", test.n)
        for (name, test), p in zip(tests.items(), adjusted, strict=True)
    }


def family_level(comparisons: int) -> float:
    """Return the level that each interval needs for all of them to hold together at 95 % (Bonferroni).

    Holm's procedure has no simple intervals; these are never less conservative than its tests.

    Raises:
        UsageError: fewer than one comparison.
    """
    if comparisons < 1:
        raise UsageError("a family has at least one comparison")
    return 1 - (1 - 0.95) / comparisons


def equivalence(rates: Rates, margin: float, weights: tuple[int, ...] = AMPLIFICATION) -> Test:
    """Test whether the difference lies within a margin of zero (two one-sided t tests).

    A small p shows that the difference lies between -margin and margin (Schuirmann, 1987); "not
    significant" in another test shows nothing of the kind. p is at most alpha exactly if the
    interval at level 1 - 2 alpha lies within the margin. (statsmodels' `ttost_paired` is the same for
    plain pairs, but has no clusters and no correction for a judge's errors.)

    Args:
        rates: The arms' rates.
        margin: The smallest difference that matters, in shares; set it before looking at the data.
        weights: The contrast: AMPLIFICATION or COUPLING.

    Raises:
        UsageError: the margin is not above 0.
    """
    if not margin > 0:
        raise UsageError("equivalence needs a margin above 0")
    signs = np.asarray(weights, float)
    middle, error = float(signs @ rates.centre), float(np.sqrt(signs @ rates.covariance @ signs))
    method = f"equivalence within {margin:g}, two one-sided t tests"
    if not np.isfinite(error):
        return Test(1.0, f"{method}: not estimated", rates.n)
    p = stats.t.sf((margin - abs(middle)) / error, rates.df)
    return Test(float(p), method, rates.n)
