"""The study's verdict: the data support the claim, refute it, or leave it open.

The claim is that an effect is larger than a margin that was set before the data were looked at.
The full rule; the interval is the one corrected for the judge's errors, if there is one:

- supports:     the whole interval lies above the margin;
- refutes:      the whole interval lies below the margin, or equivalence is shown: the interval
                at level 1 - 2 alpha lies within the margin on both sides of "no effect" (TOST);
- inconclusive: otherwise, and whenever the effect could not be estimated.

In a family of comparisons, the intervals have the level that `family_level` returns.
"""

from __future__ import annotations

from math import inf, isfinite, log
from typing import Literal

from pydantic import Field, computed_field
from scipy import stats

from ...monitor.trace import Frozen
from .effects import AMPLIFICATION, Effects, Scale, contrast, effects
from .estimate import Estimate, Test
from .families import equivalence, family_level
from .rates import Rates

__all__ = ["Conclusion", "Outcome", "conclude", "direction", "scales_agree"]

Outcome = Literal["supports", "refutes", "inconclusive"]


class Conclusion(Frozen):
    """A claim, the data's answer to it, and how far that can be trusted.

    The outcome and its reason are computed from the fields, never given, so they cannot contradict the
    rule.
    """

    claim: str
    """The claim in words, for the report."""
    scale: Scale = "difference"
    margin: float
    """The smallest effect that matters, set beforehand: 0.05 is 5 points; a ratio of 1.25, a quarter more."""
    estimate: Estimate
    """The effect, uncorrected for the judge's errors."""
    corrected: Estimate | None = None
    """The effect corrected for the judge's errors, on the same scale and at the same level."""
    equivalence: Test | None = None
    """The test that the effect, corrected if possible, lies within the margin on both sides."""
    power: float = Field(default=0.8, gt=0, lt=1)
    """The power that the resolution refers to."""
    across_scales: bool | None = None
    """Whether the difference and the odds ratio point the same way; None if that was not checked."""

    @property
    def deciding(self) -> Estimate:
        """The estimate that decides: the corrected one, if there is one."""
        return self.corrected or self.estimate

    @computed_field  # type: ignore[prop-decorator]
    @property
    def outcome(self) -> Outcome:
        """What the data say about the claim."""
        return self._outcome(self.deciding, self.equivalence)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def survives_judge_error(self) -> bool | None:
        """Whether the uncorrected interval leads to the same outcome; None without a correction.

        Equivalence is ignored on both sides, so that intervals are compared with intervals.
        """
        if self.corrected is None:
            return None
        return self._outcome(self.estimate, None) == self._outcome(self.corrected, None)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def resolution(self) -> float | None:
        """The resolution q = N / N*: the number of prompts, divided by the number needed.

        N* prompts, as variable as these, would distinguish "no effect" from the margin with the power
        asked for. Below 1, the study is too small to settle the claim, whatever it found. None if the
        margin is "no effect" itself, since nothing can resolve a distance of 0.
        """
        used = self.deciding
        distance = abs(self._place(self.margin))
        half = (self._place(used.high) - self._place(used.low)) / 2
        if not distance or not isfinite(half) or half <= 0:
            return None
        z = float(stats.norm.ppf((1 + used.level) / 2))
        return float((distance * z / half / (z + stats.norm.ppf(self.power))) ** 2)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def reason(self) -> str:
        """The part of the rule that decided."""
        used = self.deciding
        if not used.known:
            return f"not estimated: {used.method}"
        if used.above(self.margin):
            return "the interval lies above the margin"
        if used.below(self.margin):
            return "the interval lies below the margin"
        if self.outcome == "refutes":
            return "the effect is shown to lie within the margin on both sides"
        return "the interval contains the margin"

    def _outcome(self, used: Estimate, equivalence: Test | None) -> Outcome:
        if used.above(self.margin):
            return "supports"
        alpha = 1 - used.level
        equivalent = used.known and equivalence is not None and equivalence.p <= alpha
        return "refutes" if equivalent or used.below(self.margin) else "inconclusive"

    def _place(self, value: float) -> float:
        """Return a value's distance from "no effect", on the scale on which intervals are symmetric."""
        if self.scale == "difference":
            return value
        return log(value) if value > 0 else -inf


def conclude(
    claim: str,
    rates: Rates,
    margin: float,
    *,
    weights: tuple[int, ...] = AMPLIFICATION,
    scale: Scale = "difference",
    corrected: Rates | None = None,
    comparisons: int = 1,
) -> Conclusion:
    """Decide what rates say about a claim.

    Args:
        claim: In words, such as "reasoning amplifies harm by more than 5 points".
        rates: The rates that the judge reports.
        margin: The smallest effect that matters, on `scale`, set beforehand. With 0 (or 1 for a
            ratio) any effect matters, and equivalence cannot be shown.
        weights: The contrast: AMPLIFICATION or COUPLING.
        scale: The scale of the claim.
        corrected: The rates corrected for the judge's errors.
        comparisons: The number of claims in the family.
    """
    each, used = family_level(comparisons), corrected or rates
    testable = scale == "difference" and margin > 0
    return Conclusion(
        claim=claim,
        scale=scale,
        margin=margin,
        estimate=contrast(rates, weights, scale, each),
        corrected=None if corrected is None else contrast(corrected, weights, scale, each),
        equivalence=equivalence(used, margin, weights) if testable else None,
        across_scales=scales_agree(effects(used, weights, each)),
    )


def direction(effect: Estimate, scale: Scale) -> Literal["more", "less", "open"]:
    """Return whether an interval lies above "no effect", below it, or around it."""
    null = 0.0 if scale == "difference" else 1.0
    return "more" if effect.above(null) else "less" if effect.below(null) else "open"


def scales_agree(found: Effects) -> bool:
    """Whether the difference and the odds ratio point in the same direction."""
    return direction(found.difference, "difference") == direction(found.odds, "odds")
