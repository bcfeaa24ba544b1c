"""The step at which a trace turns: its single change point, found by exhaustive search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .rates import Floats

__all__ = ["ChangePoint", "change_point"]


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """The single change point of a trace's refusals, with a p value."""

    step: int
    """The index of the first prefix after the change."""
    before: float
    """The share of refusals before the change point."""
    after: float
    p: float
    """The share of shuffled traces whose best change point fits at least as well."""


def change_point(refused: Sequence[bool], *, shuffles: int = 499, seed: int = 0) -> ChangePoint | None:
    """Return the most likely single change point, found by trying every place.

    The likelihood is that of two Bernoulli rates, one before and one after. The p value comes from
    a permutation test of the maximum, since the usual test does not hold for a maximum.

    Args:
        refused: Whether each prefix's answer was a refusal, in order.
        shuffles: The number of permutations.
        seed: Random seed of the permutations.

    Returns:
        The change point; None if all answers are alike, or there are fewer than two.
    """
    values = np.array(refused, float)
    if len(values) < 2 or values.min() == values.max():
        return None
    gains = _gains(values[None, :])[0]
    step = int(gains.argmax()) + 1
    shuffled = np.random.default_rng(seed).permuted(np.tile(values, (shuffles, 1)), axis=1)
    as_good = int((_gains(shuffled).max(axis=1) >= gains.max() - 1e-9).sum())
    return ChangePoint(
        step, float(values[:step].mean()), float(values[step:].mean()), (1 + as_good) / (1 + shuffles)
    )


def _gains(values: Floats) -> Floats:
    """Return the log-likelihood of each split up to a constant, shape (rows, n - 1)."""
    n = values.shape[1]
    hits = values.cumsum(axis=1)
    size = np.arange(1.0, n)
    left, right = hits[:, :-1], hits[:, -1:] - hits[:, :-1]
    return _log_likelihood(left, size) + _log_likelihood(right, n - size)


def _log_likelihood(hits: Floats, size: Floats) -> Floats:
    p = np.clip(hits / size, 1e-12, 1 - 1e-12)
    likelihood: Floats = hits * np.log(p) + (size - hits) * np.log1p(-p)
    return likelihood
