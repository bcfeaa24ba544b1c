"""How many prompts a study needs, from the discordant pairs it expects.

Only prompts on which the arms disagree are informative: `more` is the share that is harmed with
reasoning only, `less` the share without only. Two conventions:

- "exact": the power of the exact McNemar test, summed over the number of discordant pairs and over
  their split. The study uses this test, so the planner uses this convention.
- "connor": Connor's (1987) formula for the test without continuity correction,
  n = (z(1 - alpha/2) sqrt(d) + z(power) sqrt(d - e²))² / e², with d = more + less, e = more - less.
  Tables in papers use it (20 and 2 % give 51 prompts, 15 and 5 % 155, 8 and 3 % 343, 10 and 5 %
  469, at 80 %). The exact test needs somewhat more.

Several answers per prompt only add power, so both are conservative for such a study.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

import numpy as np
from scipy import stats

from ...errors import UsageError
from .rates import Floats

__all__ = ["exact_power", "prompts_needed"]

ALPHA = 0.05
"""The two-sided level of the tests."""

MOST = 200_000
"""The most prompts that a plan may need."""

_TOO_MANY = f"more than {MOST} prompts: the difference is too small, or the power too high, to plan for"


def exact_power(prompts: int, more: float, less: float) -> float:
    """Return the chance that the exact two-sided McNemar test rejects at the level `ALPHA`.

    Args:
        prompts: The number of prompts, each once in both arms.
        more: The share of prompts harmed with reasoning only.
        less: The share harmed without reasoning only.

    Raises:
        UsageError: the shares are not possible.
    """
    _check(more, less)
    if more + less == 0:
        return 0.0
    pairs = np.arange(prompts + 1)
    weights = stats.binom.pmf(pairs, prompts, more + less)
    likely = weights > 1e-15
    return float(weights[likely] @ _power_given(pairs[likely], more / (more + less)))


def prompts_needed(
    more: float,
    less: float,
    power: float = 0.8,
    convention: Literal["exact", "connor"] = "exact",
) -> int:
    """Return the number of prompts from which on the test has the required power.

    The exact test's power is a sawtooth: after the number returned, it does not fall below again
    (within a quarter more prompts).

    Args:
        more: The share of prompts harmed with reasoning only.
        less: The share harmed without reasoning only.
        power: The power aimed for, in (0, 1).
        convention: Described in the module's docstring.

    Raises:
        UsageError: the shares are not possible or are equal, the power is not in (0, 1), or the
            difference is too small to plan for.
    """
    _check(more, less)
    if more == less or not 0 < power < 1:
        raise UsageError("the power lies in (0, 1), and the two discordant shares differ")
    guess = _connor(more, less, power)
    if guess > MOST:
        raise UsageError(_TOO_MANY)
    if convention == "connor":
        return guess
    return _last_crossing(more, less, power, guess)


def _connor(more: float, less: float, power: float) -> int:
    total, gap = more + less, more - less
    z_test, z_power = stats.norm.ppf(1 - ALPHA / 2), stats.norm.ppf(power)
    return max(1, int(np.ceil(((z_test * sqrt(total) + z_power * sqrt(total - gap**2)) / gap) ** 2)))


def _last_crossing(more: float, less: float, power: float, guess: int) -> int:
    """Return one more than the last number of prompts that falls short, bisecting, then walking the saw."""
    low, high = 1, max(2 * guess, 16)
    while exact_power(high, more, less) < power:
        low, high = high, 2 * high
        if high > 2 * MOST:
            raise UsageError(_TOO_MANY)
    while high - low > 1:
        middle = (low + high) // 2
        if exact_power(middle, more, less) < power:
            low = middle
        else:
            high = middle
    saw = range(high, high + max(16, min(high // 4, 200)))
    short = [n for n in saw if exact_power(n, more, less) < power]
    return short[-1] + 1 if short else high


def _power_given(pairs: np.ndarray[tuple[int], np.dtype[np.int64]], share: float) -> Floats:
    """Return the test's power for each number of discordant pairs."""
    below = stats.binom.ppf(ALPHA / 2, pairs, 0.5) - 1  # the first guess of the largest rejected count
    for _ in range(2):
        fits = 2 * stats.binom.cdf(below + 1, pairs, 0.5) <= ALPHA
        below = np.where(fits, below + 1, below)
    upper = stats.binom.sf(pairs - below - 1, pairs, share)
    return np.asarray(np.where(below >= 0, stats.binom.cdf(below, pairs, share) + upper, 0.0))


def _check(more: float, less: float) -> None:
    if not (more >= 0 and less >= 0 and more + less <= 1):
        raise UsageError("discordant shares lie in [0, 1] and add up to 1 at most")
