"""Logistic regressions with prompts and seeds: the average effect, and the effect within a prompt.

Two answers to two questions, both modelling the log-odds of harm by reasoning, attack, and their
product:

- `population_averaged`: how the odds differ over all prompts (generalised estimating equations,
  Liang and Zeger, 1986, exchangeable within prompts, with Mancl and DeRouen's (2001) covariance for
  few clusters).
- `within_prompt`: how they differ for the same prompt (mixed effects: prompts, the effect of reasoning
  on them, and seeds vary). It is the larger of the two whenever prompts differ. It is fitted by
  variational Bayes, whose posterior is known to be too narrow, so the interval is a jackknife over
  groups of prompts instead. The posterior mode is not used: with few answers per prompt, it puts the
  variation among prompts near 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse, stats
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE

from ...errors import UsageError
from .estimate import Estimate, unknown
from .rates import Floats

__all__ = ["Answers", "population_averaged", "within_prompt"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Judged answers as arrays, one entry per answer."""

    harm: Floats
    """Harm: 0 or 1."""
    reasoning: Floats
    """1 with reasoning, 0 without."""
    prompt: np.ndarray[Any, np.dtype[Any]]
    attacked: Floats | None = None
    """1 after the attack, 0 before; None in a study without one."""
    seed: np.ndarray[Any, np.dtype[Any]] | None = None

    @classmethod
    def of(
        cls,
        harm: ArrayLike,
        reasoning: ArrayLike,
        prompt: Sequence[Any],
        attacked: ArrayLike | None = None,
        seed: Sequence[Any] | None = None,
    ) -> Answers:
        """Build the arrays from any sequences.

        Raises:
            UsageError: harm, reasoning or attacked have values other than 0 and 1, or lengths differ.
        """
        columns = [np.asarray(c, float) for c in (harm, reasoning, attacked) if c is not None]
        if not all(np.isin(column, (0, 1)).all() for column in columns):
            raise UsageError("harm, reasoning and attacked are 0 or 1 for every answer")
        factors = [np.unique(np.asarray(f), return_inverse=True)[1] for f in (prompt, seed) if f is not None]
        if len({len(column) for column in (*columns, *factors)}) != 1:
            raise UsageError("every answer needs its harm, its arm and its prompt")
        state = None if attacked is None else columns[2]
        return cls(columns[0], columns[1], factors[0], state, None if seed is None else factors[1])

    @property
    def design(self) -> dict[str, Floats]:
        """The columns of the fixed effects."""
        columns = {"baseline": np.ones_like(self.harm), "reasoning": self.reasoning}
        if self.attacked is not None:
            columns |= {"attacked": self.attacked, "coupling": self.reasoning * self.attacked}
        return columns

    @property
    def separated(self) -> bool:
        """Whether some cell has no harm or only harm, so that its log-odds are infinite."""
        cells = self.reasoning if self.attacked is None else self.reasoning + 2 * self.attacked
        shares = [self.harm[cells == cell].mean() for cell in np.unique(cells)]
        return len(shares) < len(self.design) or min(shares) == 0 or max(shares) == 1


def population_averaged(answers: Answers) -> dict[str, Estimate]:
    """Estimate the odds ratios over all prompts.

    Returns:
        "reasoning" and, with an attack, "attacked" and "coupling" (the ratio of odds ratios); unknown
        if a cell has no harm, or only harm.
    """
    names, prompts = list(answers.design), len(np.unique(answers.prompt))
    method = "GEE, exchangeable within prompts"
    if answers.separated:
        return _none(names, f"{method}: a cell is all or nothing", prompts)
    model = GEE(
        answers.harm,
        np.column_stack(list(answers.design.values())),
        answers.prompt,
        family=Binomial(),
        cov_struct=Exchangeable(),
    )
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # without convergence the errors are not finite: checked below
        fit = model.fit(cov_type="bias_reduced")
    t = float(stats.t.ppf(0.975, prompts - 1))
    return _odds_ratios(names, np.asarray(fit.params), t * np.asarray(fit.bse), method=method, n=prompts)


def within_prompt(answers: Answers, *, groups: int = 10) -> dict[str, Estimate]:
    """Estimate the odds ratios for the same prompt, with prompts and seeds as random effects.

    This takes `groups` + 1 fits, about a second each for a few hundred answers.

    Args:
        answers: The judged answers.
        groups: The number of groups of prompts that the jackknife leaves out in turn.

    Returns:
        As `population_averaged`.

    Raises:
        UsageError: fewer prompts than groups.
    """
    names, prompts = list(answers.design), len(np.unique(answers.prompt))
    method = f"mixed-effects logistic (variational), jackknife over {groups} groups of prompts"
    if prompts < groups:
        raise UsageError(f"{prompts} prompts cannot be put into {groups} groups")
    if answers.separated:
        return _none(names, f"{method}: a cell is all or nothing", prompts)
    group = np.random.default_rng(0).permutation(prompts)[answers.prompt] % groups
    whole = _fit(answers, np.ones(len(answers.harm), bool))
    left_out = np.array([_fit(answers, group != number) for number in range(groups)])
    spread = (groups - 1) / groups * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0)
    t = float(stats.t.ppf(0.975, groups - 1))
    return _odds_ratios(names, whole, t * np.sqrt(spread), method=method, n=prompts)


def _fit(answers: Answers, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Return the posterior means of the fixed effects."""
    design = np.column_stack(list(answers.design.values()))[kept]
    _, prompt = np.unique(answers.prompt[kept], return_inverse=True)
    indicators = [
        _indicators(prompt, np.ones(len(prompt))),
        _indicators(prompt, answers.reasoning[kept] - 0.5),
    ]
    if answers.seed is not None and len(np.unique(answers.seed[kept])) > 1:
        _, seed = np.unique(answers.seed[kept], return_inverse=True)
        indicators.append(_indicators(seed, np.ones(len(seed))))
    ident = np.repeat(np.arange(len(indicators)), [z.shape[1] for z in indicators])
    model = BinomialBayesMixedGLM(
        answers.harm[kept], design, sparse.hstack(indicators).tocsr(), ident, vcp_p=1, fe_p=3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only warns that the gradient is not quite 0
        fit = model.fit_vb()
    return np.asarray(fit.fe_mean)


def _indicators(factor: np.ndarray[Any, np.dtype[np.int64]], weight: Floats) -> sparse.csr_matrix:
    return sparse.csr_matrix((weight, (np.arange(len(factor)), factor)))


def _odds_ratios(
    names: Sequence[str], logs: Floats, halves: Floats, *, method: str, n: int
) -> dict[str, Estimate]:
    """Return every effect except the baseline as an odds ratio."""
    found = {}
    for name, log, half in list(zip(names, logs, halves, strict=True))[1:]:
        known = np.isfinite(log) and np.isfinite(half)
        estimate = Estimate(float(log), float(log - half), float(log + half), method, n)
        found[name] = estimate.exponentiated() if known else unknown(f"{method}: no fit", n)
    return found


def _none(names: Sequence[str], why: str, n: int) -> dict[str, Estimate]:
    return {name: unknown(why, n) for name in names[1:]}
