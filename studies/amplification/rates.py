"""Rates of harm by arm, with their joint uncertainty.

Everything that the study estimates is a function of a few rates of harm: reasoning on and off,
before and after an attack. This module holds those rates and their covariance, whatever their
source: counted in a published table, averaged over prompts, or corrected for the judge's errors
(judge_error.py). effects.py turns them into differences and ratios.

The prompt is the unit: answers to one prompt resemble each other, whatever their number, and the arms
share their prompts. So answers are first averaged within a prompt and an arm, and the covariance of the
prompts' averages is estimated directly: no model of the correlation is needed. It also means that every
prompt weighs the same, and that nothing is inferred about prompts unlike these or other fine-tuning runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ...errors import UsageError

__all__ = ["Floats", "Rates", "by_prompt", "counted", "shrunk", "smoothed", "whole_rows"]

Floats = NDArray[np.float64]

PSEUDO_PROMPTS = 2.0
"""From Agresti and Min (2005): half a pair added to each cell of the paired table, two pairs in all."""


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Rates of harm of several arms, and their covariance."""

    values: Floats
    """The reported rates, shape (arms,)."""
    centre: Floats
    """The rates that intervals are built around, shape (arms,); never 0 or 1."""
    covariance: Floats
    """The covariance of the rates, shape (arms, arms)."""
    n: int
    """The number of units: prompts, or answers of the smallest arm if prompts are not known."""
    method: str
    df: float = np.inf
    """Degrees of freedom of the t distribution for intervals."""
    corrected: bool = False
    """Whether the rates were corrected for a judge's errors: errors are then symmetric on the rates' own
    scale, while those of counted rates are more symmetric on a logarithmic scale.
    """

    def quantile(self, level: float) -> float:
        """Return the t quantile of a two-sided interval."""
        return float(stats.t.ppf((1 + level) / 2, self.df))


def counted(harmful: Sequence[int], of: Sequence[int]) -> Rates:
    """Return the rates of independent arms from counts: all that most papers publish.

    If a count is 0 or all, half an answer is added to both sides of every arm (Haldane, 1956;
    Anscombe, 1956), in the reported rates too.

    Args:
        harmful: The number of harmful answers per arm.
        of: The number of answers per arm.

    Raises:
        UsageError: a count is not possible.
    """
    hits, sizes = np.asarray(harmful, float), np.asarray(of, float)
    if hits.shape != sizes.shape or np.any(sizes < 1) or np.any((hits < 0) | (hits > sizes)):
        raise UsageError("counts must be 0 <= harmful <= of, with of >= 1, one pair for each arm")
    method = "independent arms"
    if np.any((hits == 0) | (hits == sizes)):
        hits, sizes, method = hits + 0.5, sizes + 1, f"{method}, Haldane"
    rates = hits / sizes
    return Rates(rates, rates, np.diag(rates * (1 - rates) / sizes), int(min(of)), method)


def smoothed(harm: ArrayLike, samples: float = 1.0) -> Rates:
    """Return the rates of arms that share their prompts.

    The intervals' centre and covariance include two pseudo-prompts, on which every
    pattern of answers is equally frequent (Agresti and Min, 2005, for two arms and one sample). So
    arms without any harm still have an interval of a sensible width. With k samples per prompt they
    weigh 1/k: they represent as many answers, not as many prompts.

    Args:
        harm: The share of harmful answers, or the mean severity in [0, 1], shape (prompts, arms).
        samples: The mean number of answers per prompt and arm.

    Raises:
        UsageError: fewer than two prompts, a value outside [0, 1], or a missing one.
    """
    harm = _checked(harm)
    n = len(harm)
    values = harm.mean(axis=0)
    centre, covariance = shrunk(values, np.cov(harm, rowvar=False).reshape(2 * (harm.shape[1],)), n, samples)
    return Rates(values, centre, covariance, n, "clustered by prompt, t", n - 1)


def shrunk(values: Floats, spread: Floats, n: int, samples: float = 1.0) -> tuple[Floats, Floats]:
    """Add the pseudo-prompts to means over n prompts and to the prompts' covariance.

    Returns:
        The centre, and the covariance of the means.
    """
    extra = PSEUDO_PROMPTS / samples
    centre = (n * values + extra / 2) / (n + extra)
    off = 0.5 - centre
    own = values - centre
    pseudo = 0.25 * np.eye(len(values)) + np.outer(off, off)
    total = n * (spread + np.outer(own, own)) + extra * pseudo
    return centre, total / (n + extra) ** 2


def by_prompt(
    prompts: Sequence[Any], arms: Sequence[str], harm: ArrayLike, order: Sequence[str]
) -> tuple[list[Any], Floats, Floats]:
    """Average the answers within each prompt and arm.

    Args:
        prompts: Each answer's prompt.
        arms: Each answer's arm; answers of arms that `order` does not name are left out.
        harm: Each answer's harm; NaN where it could not be judged, which leaves the answer out.
        order: The arms, in the order of the columns.

    Returns:
        The prompts; the mean harm, shape (prompts, arms), NaN where a cell is empty; the number of
        judged answers in each cell.
    """
    values = np.asarray(harm, float)
    names = sorted(set(prompts))  # so that resampling does not depend on the order of the records
    row_of, column_of = {name: i for i, name in enumerate(names)}, {arm: i for i, arm in enumerate(order)}
    rows = np.array([row_of[prompt] for prompt in prompts], dtype=np.intp)
    columns = np.array([column_of.get(arm, -1) for arm in arms], dtype=np.intp)
    kept = (columns >= 0) & np.isfinite(values)
    totals, sizes = np.zeros((len(names), len(order))), np.zeros((len(names), len(order)))
    np.add.at(totals, (rows[kept], columns[kept]), values[kept])
    np.add.at(sizes, (rows[kept], columns[kept]), 1.0)
    means = np.divide(totals, sizes, out=np.full_like(totals, np.nan), where=sizes > 0)
    return names, means, sizes


def whole_rows(harm: ArrayLike) -> NDArray[np.bool_]:
    """Return which prompts have an answer in every arm; only these can be compared.

    Args:
        harm: The mean harm that `by_prompt` returns, shape (prompts, arms).
    """
    return np.asarray(np.isfinite(np.asarray(harm, float)).all(axis=1))


def _checked(harm: ArrayLike) -> Floats:
    table = np.asarray(harm, float)
    if table.ndim != 2 or len(table) < 2:
        raise UsageError("harm must have the shape (prompts, arms), with at least two prompts")
    if not np.all((table >= 0) & (table <= 1)):
        raise UsageError("harm must lie in [0, 1] in every cell; leave out prompts that lack an arm")
    return table
