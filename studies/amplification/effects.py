"""Effect sizes, always on three scales together: difference, ratio of rates, ratio of odds.

The scales can disagree. In the first paper's cells an attack took a reasoning model from 2 to 96 %
and another model from 8 to 78 %: 24 points more, 4.9 times the ratio, 29 times the odds. Whether two
effects reinforce each other depends on the scale, so no scale is shown alone.

Each effect is a contrast: a weighted sum of the rates, of their logarithms, or of their log-odds.
Its interval comes from the rates' covariance, by the delta method or, for skewed errors, by a
related method (see `_reach`). statsmodels has such intervals for two independent arms only
(Newcombe's, used here); no maintained library has them for paired arms, clusters and interactions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import logit
from statsmodels.stats.proportion import confint_proportions_2indep

from .estimate import Estimate, unknown
from .rates import Floats, Rates, counted

__all__ = [
    "AMPLIFICATION",
    "COUPLING",
    "Effects",
    "Scale",
    "compare",
    "contrast",
    "effects",
    "interaction",
    "point",
]

Scale = Literal["difference", "ratio", "odds"]

AMPLIFICATION = (1, -1)
"""Weights of the arms (reasoning on, off): the effect of the reasoning."""

COUPLING = (1, -1, -1, 1)
"""Weights of the arms (on, off) after the attack and (on, off) before: what both add beyond each alone."""

_LINKS: dict[Scale, Callable[[Floats], Floats]] = {"difference": lambda p: p, "ratio": np.log, "odds": logit}
_SLOPES: dict[Scale, Callable[[Floats], Floats]] = {
    "difference": np.ones_like,
    "ratio": lambda p: 1 / p,
    "odds": lambda p: 1 / (p * (1 - p)),
}


class Effects(NamedTuple):
    """One comparison on the three scales."""

    difference: Estimate
    """The difference of rates: 0.24 is 24 percentage points. No effect is 0."""
    ratio: Estimate
    """The ratio of rates. No effect is 1."""
    odds: Estimate
    """The ratio of odds. No effect is 1."""


def point(values: Floats, weights: tuple[int, ...], scale: Scale) -> Floats:
    """Return the contrast of rates on the scale itself (not its logarithm).

    Args:
        values: Rates, shape (…, arms).
        weights: One per arm.
        scale: The scale of the contrast.

    Returns:
        The contrasts, shape (…); infinite or NaN if a rate of 0 or 1 makes them so.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _LINKS[scale](np.asarray(values, float)) @ np.asarray(weights, float)
        return np.asarray(found if scale == "difference" else np.exp(found))


def contrast(rates: Rates, weights: tuple[int, ...], scale: Scale, level: float = 0.95) -> Estimate:
    """Estimate a contrast of rates.

    Args:
        rates: The arms' rates, in the order of the weights.
        weights: AMPLIFICATION for (on, off), COUPLING for the four cells of an attack.
        scale: The scale of the contrast.
        level: The confidence level.

    Returns:
        The estimate. Its value comes from the rates as they are or, if these give none (a rate of 0 on a
        ratio scale), from the smoothed rates that the interval is built around. Unknown if a corrected rate
        lies outside (0, 1) on a scale that needs it inside.
    """
    centre, signs = rates.centre, np.asarray(weights, float)
    inside = scale == "difference" or bool(np.all((centre > 0) & (centre < 1)))
    if not inside or not np.all(np.isfinite(rates.covariance)):
        return unknown(f"{rates.method}: no rate inside (0, 1) on this scale", rates.n, level)
    middle = float(signs @ _LINKS[scale](centre))
    below, above = (_reach(rates, side * signs, scale, level) for side in (-1, 1))
    interval = Estimate(middle, middle - below, middle + above, rates.method, rates.n, level)
    return _around(
        interval, float(point(rates.values, weights, scale)), scale, float(np.abs(signs).sum()) / 2
    )


def effects(rates: Rates, weights: tuple[int, ...], level: float = 0.95) -> Effects:
    """Estimate a contrast on all three scales."""
    return Effects(*(contrast(rates, weights, scale, level) for scale in _LINKS))


def compare(on: tuple[int, int], off: tuple[int, int], level: float = 0.95) -> Effects:
    """Compare two independent arms, each given as (harmful, of).

    The difference has Newcombe's (1998) interval, the ratios have Wald intervals on their logarithms.
    """
    found = effects(counted((on[0], off[0]), (on[1], off[1])), AMPLIFICATION, level)
    low, high = confint_proportions_2indep(*on, *off, method="newcomb", compare="diff", alpha=1 - level)
    value = on[0] / on[1] - off[0] / off[1]
    newcombe = Estimate(
        value, float(low), float(high), "independent arms, Newcombe", min(on[1], off[1]), level
    )
    return found._replace(difference=newcombe)


def interaction(
    on_after: tuple[int, int],
    off_after: tuple[int, int],
    on_before: tuple[int, int],
    off_before: tuple[int, int],
    level: float = 0.95,
) -> Effects:
    """Estimate how reasoning and attack act together, from four independent cells (harmful, of).

    Returns:
        The difference in differences, the ratio of risk ratios and the ratio of odds ratios, with Wald
        intervals (on the logarithm for the ratios).
    """
    cells = (on_after, off_after, on_before, off_before)
    return effects(counted([cell[0] for cell in cells], [cell[1] for cell in cells]), COUPLING, level)


def _reach(rates: Rates, signs: Floats, scale: Scale, level: float) -> float:
    """Return how far an interval extends when each arm's rate moves in the direction of its sign.

    It combines each arm's own extent by the arms' correlation (Zou and Donner, 2008). For counted rates,
    both directions are equal and this is the delta method; for corrected rates, an arm's extent is that
    of the rate's own interval, transformed to the scale.
    """
    errors = np.sqrt(np.diag(rates.covariance))
    far = rates.quantile(level) * errors
    with np.errstate(divide="ignore", invalid="ignore"):
        if rates.corrected and scale != "difference":
            moved = np.clip(rates.centre + np.sign(signs) * far, 0, 1)
            reach = np.abs(_LINKS[scale](moved) - _LINKS[scale](rates.centre))
        else:
            reach = far * _SLOPES[scale](rates.centre)
        if not np.all(np.isfinite(reach)):
            return float("inf")
        correlation = rates.covariance / np.outer(errors, errors)
    parts = signs * reach
    return float(np.sqrt(max(parts @ np.nan_to_num(correlation) @ parts, 0.0)))


def _around(interval: Estimate, value: float, scale: Scale, bound: float) -> Estimate:
    """Return the reported value with its interval, on the reported scale."""
    if scale == "difference":
        low, high = max(interval.low, -bound), min(interval.high, bound)
    else:
        interval = interval.exponentiated()
        low, high = interval.low, interval.high
    reported = (
        value if np.isfinite(value) and value > (-np.inf if scale == "difference" else 0) else interval.value
    )
    return Estimate(
        reported, min(low, reported), max(high, reported), interval.method, interval.n, interval.level
    )
