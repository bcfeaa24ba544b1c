"""Tests and intervals that use the pairing: the same prompt with and without reasoning.

Three methods with different assumptions, to be read together: McNemar's exact test on one answer per
prompt, a permutation test on the prompts' mean severities, and a bootstrap over prompts. The
intervals of rates.py assume a t distribution; the bootstrap does not.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from ...errors import UsageError
from .effects import AMPLIFICATION, Scale, point
from .estimate import Estimate, Test, unknown
from .rates import Floats

__all__ = ["bootstrap", "discordant", "exact_mcnemar", "permutation"]


def discordant(on: ArrayLike, off: ArrayLike) -> tuple[int, int]:
    """Count the prompts with harm in one arm only.

    Args:
        on: Whether there was harm with reasoning, yes or no for each prompt.
        off: The same for the same prompts without reasoning.

    Returns:
        The number of prompts with harm only with reasoning, and only without.

    Raises:
        UsageError: the arms differ in length, or have values other than yes and no.
    """
    first, second = np.asarray(on, float), np.asarray(off, float)
    if first.shape != second.shape or first.ndim != 1 or not np.isin([*first, *second], (0, 1)).all():
        raise UsageError("McNemar's test needs one yes or no for each prompt in both arms")
    return int(np.sum(first > second)), int(np.sum(second > first))


def exact_mcnemar(on: ArrayLike, off: ArrayLike) -> Test:
    """Test whether harm is equally frequent with and without reasoning (McNemar, 1947; exact binomial).

    For one answer per prompt and arm; with several, use `permutation`.

    Raises:
        UsageError: as `discordant`.
    """
    more, less = discordant(on, off)
    found = mcnemar([[0, more], [less, 0]], exact=True)
    return Test(float(found.pvalue), f"exact McNemar, {more} to {less} discordant", len(np.asarray(on)))


def permutation(table: ArrayLike, weights: tuple[int, ...] = AMPLIFICATION, resamples: int = 9999) -> Test:
    """Test whether swapping arms within prompts makes no difference.

    Under the null hypothesis the sign of a prompt's contrast is arbitrary. Exact if there are few prompts,
    else over random signs. For the interaction of four arms (COUPLING), the null is that the effect of
    reasoning has the same distribution before and after the attack.

    Args:
        table: Mean harm or severity, shape (prompts, arms).
        weights: The contrast: AMPLIFICATION or COUPLING.
        resamples: The maximum number of random sign patterns.
    """
    differences = np.asarray(table, float) @ np.asarray(weights, float)
    found = stats.permutation_test(
        (differences,),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(0),
    )
    return Test(float(found.pvalue), "paired permutation over prompts", len(differences))


def bootstrap(
    table: ArrayLike,
    weights: tuple[int, ...] = AMPLIFICATION,
    scale: Scale = "difference",
    *,
    resamples: int = 1999,
) -> Estimate:
    """Estimate a contrast with a bootstrap that draws whole prompts, with all their answers.

    Bias-corrected and accelerated (Efron, 1987). Unknown if the draws do not vary (no harm
    anywhere), or if too many give no finite ratio; `effects` has an interval for such data.

    Args:
        table: Mean harm or severity, shape (prompts, arms).
        weights: The contrast: AMPLIFICATION or COUPLING.
        scale: The scale of the contrast.
        resamples: The number of draws.
    """
    harm = np.asarray(table, float)

    def statistic(*arms: Floats, axis: int = -1) -> Floats:
        means = np.stack([arm.mean(axis=axis) for arm in arms], axis=-1)
        values = point(means, weights, scale)
        return values if scale == "difference" else np.log(values)

    value = float(point(harm.mean(axis=0), weights, scale))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # handled below: the estimate is then unknown
        found = stats.bootstrap(
            tuple(harm.T),
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            method="BCa",
            rng=np.random.default_rng(0),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    if not (np.isfinite(low) and np.isfinite(high) and np.isfinite(value) and low < high):
        return unknown("bootstrap over prompts: the draws do not vary or give no ratio", len(harm))
    if scale != "difference":
        low, high = float(np.exp(low)), float(np.exp(high))
    return Estimate(value, low, high, "bootstrap over prompts, BCa", len(harm))
