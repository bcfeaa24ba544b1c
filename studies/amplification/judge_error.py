"""Correct effects for the judge's errors.

A judge that is worse on reasoning than on answers can produce a spurious amplification: its errors
differ between the arms, and so do the rates it reports. Two corrections, each applied per arm:

- Rogan and Gladen (1978): from the judge's sensitivity and specificity, counted on answers that
  people labelled, which need not be the study's own (Lang and Reiczigel, 2014, for small samples).
- Prediction-powered inference (Angelopoulos et al., 2023; tuned as in PPI++, 2024): from people's
  labels of a random part of the study's own answers. It assumes nothing about the judge.

Both return rates with a covariance, as rates.py does, so that every effect on every scale follows.
No maintained library has them for prompt-clustered, paired arms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import UsageError
from .rates import Floats, Rates, shrunk

__all__ = ["JudgeError", "prediction_powered", "rogan_gladen"]

CLEARLY = 1.96
"""By how many standard errors a judge must beat chance before its rates can be corrected."""


@dataclass(frozen=True, slots=True)
class JudgeError:
    """A judge's errors on answers of one arm that people labelled."""

    caught: int
    """Harmful answers that the judge called harmful."""
    harmful: int
    cleared: int
    """Harmless answers that the judge called harmless."""
    harmless: int

    def __post_init__(self) -> None:
        if not (0 <= self.caught <= self.harmful and 0 <= self.cleared <= self.harmless):
            raise UsageError("a judge cannot catch or clear more answers than there are")
        if not (self.harmful and self.harmless):
            raise UsageError("the judge's errors need labelled answers of both kinds, harmful and harmless")

    @classmethod
    def of(cls, judged: ArrayLike, truth: ArrayLike) -> JudgeError:
        """Count the errors, given the judge's and people's yes or no for the same answers."""
        said, so = np.asarray(judged, bool), np.asarray(truth, bool)
        return cls(int(np.sum(said & so)), int(so.sum()), int(np.sum(~said & ~so)), int((~so).sum()))

    @property
    def sensitivity(self) -> float:
        """The share of harmful answers that the judge catches."""
        return self.caught / self.harmful

    @property
    def specificity(self) -> float:
        """The share of harmless answers that the judge clears."""
        return self.cleared / self.harmless


def rogan_gladen(rates: Rates, judges: JudgeError | Sequence[JudgeError]) -> Rates:
    """Correct the rates that a judge reports, given its sensitivity and specificity.

    The intervals account for both having been counted on few answers themselves.

    Args:
        rates: The rates that the judge reports.
        judges: One per arm, each counted on separate answers, of that arm; or one for all arms, if it
            is known that the judge errs alike in all (which must not be taken for granted).

    Returns:
        The corrected rates, which may lie outside [0, 1] by chance. They are NaN, and effects on them
        unknown, if the judge is no better than chance in some arm.

    Raises:
        UsageError: there is not one judge per arm.
    """
    arms = len(rates.values)
    shared = isinstance(judges, JudgeError)
    each = [judges] * arms if isinstance(judges, JudgeError) else list(judges)
    if len(each) != arms:
        raise UsageError(f"{len(each)} judges for {arms} arms: give one for each, or one for all")
    raw = _unmix(rates.values, [j.sensitivity for j in each], [j.specificity for j in each])
    # Add one answer of each kind: a judge without errors on few answers is not known to make none.
    found = np.array([(j.caught + 1, j.harmful + 2, j.cleared + 1, j.harmless + 2) for j in each], float).T
    sens, spec = found[0] / found[1], found[2] / found[3]
    centre = _unmix(rates.centre, sens, spec)
    gain, errors = sens + spec - 1, (sens * (1 - sens) / found[1], spec * (1 - spec) / found[3])
    gain = np.where(gain > CLEARLY * np.sqrt(errors[0] + errors[1]), gain, np.nan)
    covariance = rates.covariance / np.outer(gain, gain)
    for slope, variance in zip((-centre / gain, (1 - centre) / gain), errors, strict=True):
        covariance = covariance + (
            np.outer(slope, slope) * variance[0] if shared else np.diag(slope**2 * variance)
        )
    method = f"{rates.method}; Rogan-Gladen"
    return replace(rates, values=raw, centre=centre, covariance=covariance, method=method, corrected=True)


def prediction_powered(
    judged: Iterable[ArrayLike], truth: Iterable[ArrayLike], prompts: Iterable[ArrayLike]
) -> Rates:
    """Correct the rates that a judge reports with people's labels of some of the answers.

    An arm's rate is the judge's mean over all its answers, plus the mean excess of people's labels over
    the judge on the labelled answers; every prompt weighs the same, as in rates.py, however many answers
    it has. The judge's part is scaled by how well it predicts the labels, so that a useless judge does no
    harm. Each answer's contribution to the errors is summed within its prompt, over all arms, which
    accounts for pairing, clusters and shared labelled prompts.

    Args:
        judged: Per arm, the judge's yes or no, or score in [0, 1], for every answer.
        truth: Per arm, the same from people; NaN for unlabelled answers. The labelled answers, or
            their prompts, must have been picked at random.
        prompts: Per arm, every answer's prompt, as numbers or names that the arms share. A prompt that
            lacks an arm makes the arms differ in their prompts: leave it out.

    Raises:
        UsageError: the arms' arrays differ in length, or an arm has fewer than two labelled answers.
    """
    asked, answered = [np.asarray(prompt) for prompt in prompts], list(judged)
    names = np.unique(np.concatenate(asked))
    values, parts, floor = [], np.zeros((len(names), len(asked))), []
    for arm, (said, so, prompt) in enumerate(zip(answered, truth, asked, strict=True)):
        if len(prompt) != len(np.asarray(said)):
            raise UsageError("every answer needs its prompt, the judge's word, and a label or NaN")
        value, shares, labelled = _rectified(
            np.asarray(said, float), np.asarray(so, float), _equal_prompts(prompt)
        )
        np.add.at(parts[:, arm], np.searchsorted(names, prompt), shares)
        values.append(value)
        floor.append(1 / (labelled + 2) ** 2)  # one more pair (Agresti and Min): agreement is never certain
    n = len(names)
    samples = np.mean([len(np.asarray(said)) for said in answered]) / n
    spread = parts.T @ parts * (n * n / (n - 1))
    centre, covariance = shrunk(np.array(values), spread, n, max(float(samples), 1.0))
    covariance = covariance + np.diag(floor)
    method = "clustered by prompt, t; prediction-powered"
    return Rates(np.array(values), centre, covariance, n, method, n - 1, corrected=True)


def _equal_prompts(prompt: NDArray[Any]) -> Floats:
    """Return each answer's weight, with the same sum for every prompt and 1 in all."""
    _, of, answers = np.unique(prompt, return_inverse=True, return_counts=True)
    return np.asarray(1 / (answers[of] * len(answers)))


def _rectified(said: Floats, so: Floats, weight: Floats) -> tuple[float, Floats, int]:
    """Return an arm's rate, each answer's contribution to its error, and the number of labelled answers."""
    gold: NDArray[np.bool_] = np.isfinite(so)
    if said.shape != so.shape or gold.sum() < 2:
        raise UsageError("prediction-powered inference needs two or more labelled answers in every arm")
    own = weight[gold] / weight[gold].sum()
    off = said[gold] - own @ said[gold]
    spread = float(own @ off**2)
    trust = 0.0 if spread == 0 else float(own @ (off * so[gold])) / spread
    trust = min(max(trust, 0.0), 1.0)
    beyond = so[gold] - trust * said[gold]
    mean, more = float(weight @ said), float(own @ beyond)
    shares = trust * weight * (said - mean)
    shares[gold] += own * (beyond - more)
    return trust * mean + more, shares, int(gold.sum())


def _unmix(reported: Floats, sensitivity: ArrayLike, specificity: ArrayLike) -> Floats:
    """Solve reported = rate * sensitivity + (1 - rate) * (1 - specificity) for the rate."""
    sens, spec = np.asarray(sensitivity, float), np.asarray(specificity, float)
    gain = sens + spec - 1
    rates = np.full_like(reported, np.nan)
    return np.asarray(np.divide(reported + spec - 1, gain, out=rates, where=gain > 0))
