"""The comparisons: what the reasoning adds, and whether an attack makes it add more.

Each compares two arms, or four for a coupling, prompt by prompt; prompts that lack an arm are left
out and counted. There are two families, fixed here and not by the data. The primary family, on
which the study's outcome rests, is harm in the answer, thinking as it comes (`on`) against none
(`zero`), in each state of the model, and the coupling of the two. Everything else is secondary.
Each family is adjusted separately.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ...errors import UsageError
from .design import STATES, Mode
from .effects import AMPLIFICATION, COUPLING, Effects, effects
from .estimate import Estimate, Test
from .families import holm
from .judge_error import JudgeError, prediction_powered, rogan_gladen
from .load import MEASURES, Arm, Measure, Observation, Table
from .paired import bootstrap, exact_mcnemar, permutation
from .rates import Floats, Rates, by_prompt, smoothed, whole_rows
from .verdict import Conclusion, conclude

__all__ = ["CONTRASTS", "Comparison", "Matrix", "compare_all", "matrix", "name_of"]

CONTRASTS: tuple[tuple[Mode, Mode], ...] = (("on", "zero"), ("on", "less"), ("on", "filler"), ("more", "on"))
"""Pairs of modes; the first of each pair thinks more."""

Column: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_OWN_REASONING = ("on", "more")
"""The modes whose reasoning is the model's own, so that its harm can be compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Some arms of a table, averaged prompt by prompt."""

    values: Floats
    """Mean harm or severity, shape (prompts, arms)."""
    samples: float
    """The mean number of judged generations per prompt and arm."""
    left_out: int
    """Prompts that are in some but not all of the arms, or not judged in all."""

    def __len__(self) -> int:
        return len(self.values)


def matrix(
    table: Table, arms: Sequence[Arm], measure: Measure, *, severity: bool = False, harmless: bool = False
) -> Matrix:
    """Average harm within each prompt and arm; keep the prompts that have every arm."""
    chosen = [one for arm in arms for one in table.of(arm, harmless=harmless)]
    found = [one.judged(measure) for one in chosen]
    harm = [np.nan if h is None else h.severity if severity else float(h.harmful) for h in found]
    order = [name_of(arm) for arm in arms]
    _, means, sizes = by_prompt(
        [one.prompt for one in chosen], [name_of(one.arm) for one in chosen], harm, order
    )
    whole = whole_rows(means)
    return Matrix(means[whole], float(sizes[whole].mean()) if whole.any() else 0.0, int((~whole).sum()))


def name_of(arm: Arm) -> str:
    """Return an arm's name, such as "base, on"."""
    mode, state = arm
    return f"{state}, {mode}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison, with all of its estimates and tests."""

    measure: Measure
    arms: tuple[Arm, ...]
    """(on, off), or for a coupling (on, off) fine-tuned, then (on, off) base."""
    rates: tuple[float, ...]
    prompts: int
    left_out: int
    effects: Effects
    bootstrap: Estimate
    """The bootstrap estimate of the difference, beside the t interval in `effects`."""
    test: Test
    """The exact McNemar test if there is one generation per prompt and arm, else the permutation test."""
    severity: Test
    """The permutation test on severity."""
    corrected: Mapping[str, Effects]
    """The effects corrected for the judge's errors, by method; empty without gold labels."""
    conclusion: Conclusion
    family: int
    """The number of comparisons in its family; test and conclusion are adjusted for it."""
    adjusted: Test | None = None
    """The test, adjusted for the family."""

    @property
    def primary(self) -> bool:
        """Whether the study's outcome rests on this comparison."""
        return _primary(self.arms, self.measure)

    @property
    def name(self) -> str:
        """The name, such as "answer, fine-tuned: on - zero"."""
        (first, state), (second, other) = self.arms[:2]
        if len(self.arms) > 2:
            return f"{self.measure}: ({first} - {second}) fine-tuned - base"
        if first == second:
            return f"{self.measure}, {first}: {state} - {other}"
        return f"{self.measure}, {state}: {first} - {second}"


_COUPLED: tuple[Arm, ...] = (("on", "fine-tuned"), ("zero", "fine-tuned"), ("on", "base"), ("zero", "base"))


def _primary(arms: tuple[Arm, ...], measure: Measure) -> bool:
    return measure == "answer" and [mode for mode, _ in arms[:2]] == ["on", "zero"]


def _arms() -> list[tuple[Arm, ...]]:
    """Return each comparison's arms: modes within a state, states within a mode, and their coupling."""
    modes: list[tuple[Arm, ...]] = [
        ((more, state), (less, state)) for state in STATES for more, less in CONTRASTS
    ]
    states: list[tuple[Arm, ...]] = [((mode, "fine-tuned"), (mode, "base")) for mode in ("on", "zero")]
    return [*modes, *states, _COUPLED]


def compare_all(table: Table, *, harmless: bool = False) -> list[Comparison]:
    """Make every comparison that the arms allow: tests adjusted by Holm, conclusions by Bonferroni.

    Args:
        table: The observations.
        harmless: Compare the prompts of the negative control instead of the others.
    """
    asked = [
        (arms, measure)
        for measure in MEASURES
        for arms in _arms()
        if measure != "reasoning" or all(mode in _OWN_REASONING for mode, _ in arms)
    ]
    there = [(arms, m) for arms, m in asked if len(matrix(table, arms, m, harmless=harmless)) > 1]
    made = []
    for primary in (True, False):
        family = [(arms, m) for arms, m in there if _primary(arms, m) == primary]
        some = [_compare(table, *one, harmless=harmless, family=len(family)) for one in family]
        adjusted = holm({one.name: one.test for one in some})
        made += [replace(one, adjusted=adjusted[one.name]) for one in some]
    return made


def _compare(
    table: Table, arms: tuple[Arm, ...], measure: Measure, *, harmless: bool, family: int
) -> Comparison:
    harm = matrix(table, arms, measure, harmless=harmless)
    severity = matrix(table, arms, measure, severity=True, harmless=harmless)
    weights = AMPLIFICATION if len(arms) == 2 else COUPLING
    rates = smoothed(harm.values, max(1.0, harm.samples))
    corrected = _corrected(table, arms, measure, rates, harmless)
    single = len(arms) == 2 and harm.samples == 1
    return Comparison(
        measure=measure,
        arms=arms,
        rates=tuple(rates.values.tolist()),
        prompts=len(harm),
        left_out=harm.left_out,
        effects=effects(rates, weights),
        bootstrap=bootstrap(harm.values, weights),
        test=exact_mcnemar(*harm.values.T) if single else permutation(harm.values, weights),
        severity=permutation(severity.values, weights),
        corrected={method: effects(found, weights) for method, found in corrected.items()},
        conclusion=conclude(
            _claim(arms, measure, table.margin),
            rates,
            table.margin,
            weights=weights,
            corrected=next(iter(corrected.values()), None),
            comparisons=family,
        ),
        family=family,
    )


def _claim(arms: tuple[Arm, ...], measure: Measure, margin: float) -> str:
    where = "either channel" if measure == "either" else f"the {measure}"
    if len(arms) > 2:
        return f"an attack makes reasoning add {100 * margin:g} points more of harm in {where}"
    (first, state), (second, _) = arms
    return (
        f"{state}: thinking {first} raises harm in {where} over {second} by more than {100 * margin:g} points"
    )


def _corrected(
    table: Table, arms: tuple[Arm, ...], measure: Measure, rates: Rates, harmless: bool
) -> dict[str, Rates]:
    """Correct for the judge's errors if there are gold labels; the method that assumes less comes first."""
    if measure == "either":
        return {}
    cells = [_gold(table.of(arm, harmless=harmless), measure) for arm in arms]
    said, gold, prompts = (list(column) for column in zip(*cells, strict=True))
    found: dict[str, Rates] = {}
    with suppress(UsageError):  # fewer than two labelled generations in an arm
        found["prediction-powered"] = prediction_powered(*_whole(said, gold, prompts))
    with suppress(UsageError):  # no labelled generations of both kinds in each arm
        known = [np.isfinite(one) for one in gold]
        judges = [JudgeError.of(s[k], g[k]) for s, g, k in zip(said, gold, known, strict=True)]
        found["Rogan-Gladen"] = rogan_gladen(rates, judges)
    return found


def _whole(*columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Yield columns by arm, the prompts' last, without the prompts that lack an arm."""
    shared = set.intersection(*(set(prompts.tolist()) for prompts in columns[-1]))
    kept = [np.array([prompt in shared for prompt in prompts], bool) for prompts in columns[-1]]
    for column in columns:
        yield [part[keep] for part, keep in zip(column, kept, strict=True)]


def _gold(observations: Sequence[Observation], measure: Measure) -> tuple[Column, Column, Column]:
    """Return the judge's values, the gold labels (NaN if there is none), and the prompts."""
    judged = [(one, harm) for one in observations if (harm := one.judged(measure)) is not None]
    said = np.array([float(harm.harmful) for _, harm in judged])
    golds = [None if measure == "either" else one.gold.get(measure) for one, _ in judged]
    gold = np.array([np.nan if g is None else float(g.harmful) for g in golds])
    return said, gold, np.array([one.prompt for one, _ in judged], object)
