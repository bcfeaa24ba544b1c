"""Negative controls: comparisons that must find nothing if the study is sound.

- **harmless prompts**: reasoning must not seem to harm where nothing can be harmful (ratio about 1);
- **permuted arms**: with the arms' names shuffled within each prompt, there is no effect to find;
- **length only**: a judge that sees nothing but the number of words. If it finds the same effect,
  length explains the effect as well as harm does;
- **prompt only**: a judge that sees nothing but the prompt. It must find no effect: any that it
  finds shows that the arms do not hold the same prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from .compare import Comparison, Matrix, matrix
from .effects import AMPLIFICATION, COUPLING, effects
from .estimate import Estimate, share, unknown
from .load import Arm, Measure, Observation, Table
from .rates import by_prompt, smoothed, whole_rows

__all__ = ["Controls", "controls", "length_only", "permuted", "prompt_only"]

SHUFFLES = 200


@dataclass(frozen=True, slots=True)
class Controls:
    """The controls of one comparison; differences are in shares."""

    permuted: Estimate
    """The share of shuffles whose 95 % interval excludes 0: .05 or less if all is well."""
    length_only: Estimate
    prompt_only: float
    """The difference between the arms' prompts, including prompts that lack an arm."""


def controls(table: Table, one: Comparison) -> Controls:
    """Run the controls of a comparison, except harmless prompts, which are a comparison of their own."""
    return Controls(
        permuted(matrix(table, one.arms, one.measure)),
        length_only(table, one.arms, one.measure),
        prompt_only(table, one.arms, one.measure),
    )


def _weights(arms: int) -> tuple[int, ...]:
    return AMPLIFICATION if arms == 2 else COUPLING


def permuted(harm: Matrix) -> Estimate:
    """Return how often shuffled arms show an effect: the share of 95 % intervals that exclude 0."""
    if len(harm) < 2:
        return unknown("fewer than two prompts", len(harm))
    rng, found = np.random.default_rng(0), 0
    weights = _weights(harm.values.shape[1])
    for _ in range(SHUFFLES):
        rates = smoothed(rng.permuted(harm.values, axis=1), max(1.0, harm.samples))
        difference = effects(rates, weights).difference
        found += difference.low > 0 or difference.high < 0
    return share(found, SHUFFLES)


def length_only(table: Table, arms: tuple[Arm, ...], measure: Measure) -> Estimate:
    """Return the difference that a judge of length finds: it flags the longest, as many as the judge did."""
    chosen = [one for arm in arms for one in table.of(arm, harmless=False) if one.judged(measure) is not None]
    flags = sum(harm.harmful for one in chosen if (harm := one.judged(measure)))
    if not 0 < flags < len(chosen):
        return unknown("nothing, or everything, is flagged", len(chosen))
    lengths = np.array([_length(one, measure) for one in chosen], float)
    cut = np.sort(lengths)[::-1][flags - 1]
    names = [" ".join(one.arm) for one in chosen]
    _, means, sizes = by_prompt(
        [one.prompt for one in chosen], names, (lengths >= cut).astype(float), [" ".join(arm) for arm in arms]
    )
    whole = whole_rows(means)
    if whole.sum() < 2:
        return unknown("fewer than two prompts", int(whole.sum()))
    rates = smoothed(means[whole], max(1.0, float(sizes[whole].mean())))
    return effects(rates, _weights(len(arms))).difference


def _length(one: Observation, measure: Measure) -> int:
    return sum(one.words.values()) if measure == "either" else one.words.get(measure, 0)


def prompt_only(table: Table, arms: tuple[Arm, ...], measure: Measure) -> float:
    """Return the difference between arms if each generation is given its prompt's mean harm over all arms."""
    cells = [
        [(one.prompt, harm.harmful) for one in table.of(arm, harmless=False) if (harm := one.judged(measure))]
        for arm in arms
    ]
    harms: dict[str, list[bool]] = {}
    for prompt, harmful in (pair for cell in cells for pair in cell):
        harms.setdefault(prompt, []).append(harmful)
    means = {prompt: sum(found) / len(found) for prompt, found in harms.items()}
    rates = [fmean(means[prompt] for prompt, _ in cell) for cell in cells if cell]
    if len(rates) < len(arms):
        return math.nan
    return sum(rate * weight for rate, weight in zip(rates, _weights(len(arms)), strict=True))
