"""Reasoning-path attribution: which steps of a reasoning does a score of the whole rest on?

A score is any function from lists of steps to numbers, such as the risk of the answer given these
steps before it. Three common ways to attribute it:

- **leave one out**: how much the score falls without the step;
- **occlusion**: how much it falls if the step and its neighbours are masked but keep their places;
- **prefix gain**: how much it rises when the step is added to those before it.

Deletion and insertion curves show how well an attribution holds; `stability` shows whether it
survives small changes of the text. An attribution explains the *score*. Whether the model itself
would have answered otherwise is another question, which takes new continuations from each step and
so needs the model, not only its transcripts (rollouts.py; dose.py for such data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from scipy.stats import rankdata

from ...classifiers.contract import HISTORY, StepInput, risk_of
from ...classifiers.metrics import auroc
from ...errors import UsageError
from ...monitor.monitor import Monitor
from ...monitor.steps import segment
from .rates import Floats

__all__ = [
    "METHODS",
    "Score",
    "agreement",
    "answer_risk",
    "curve_areas",
    "leave_one_out",
    "occlusion",
    "prefix_gain",
    "stability",
]

Score: TypeAlias = Callable[[Sequence[Sequence[str]]], Floats]
"""Maps n lists of steps to n numbers."""

Method: TypeAlias = Callable[[Score, Sequence[str]], Floats]
"""Maps a score and the steps to one number per step."""

MASK = "…"

FIRST = 5
"""How many of the answer's steps are judged for its risk."""


def leave_one_out(score: Score, steps: Sequence[str]) -> Floats:
    """Return how much the score falls without each step, shape (steps,)."""
    without = [[*steps[:i], *steps[i + 1 :]] for i in range(len(steps))]
    values = score([list(steps), *without])
    falls: Floats = values[0] - values[1:]
    return falls


def occlusion(score: Score, steps: Sequence[str], *, window: int = 1) -> Floats:
    """Return how much the score falls if each step and `window` steps on both sides are masked.

    With `window=0`, only the step itself is masked.
    """
    masked = [
        [MASK if abs(j - i) <= window else step for j, step in enumerate(steps)] for i in range(len(steps))
    ]
    values = score([list(steps), *masked])
    falls: Floats = values[0] - values[1:]
    return falls


def prefix_gain(score: Score, steps: Sequence[str]) -> Floats:
    """Return how much the score rises with each step, given those before it, shape (steps,)."""
    return np.diff(score([list(steps[:i]) for i in range(len(steps) + 1)]))


METHODS: Mapping[str, Method] = {
    "leave one out": leave_one_out,
    "occlusion": occlusion,
    "prefix gain": prefix_gain,
}


def curve_areas(score: Score, steps: Sequence[str], attribution: Floats) -> tuple[float, float]:
    """Return the areas under the deletion and the insertion curve, whose x axes run from 0 to 1.

    Steps are deleted, and inserted, from the most to the least important one. A good attribution has
    a small deletion area and a large insertion area.
    """
    order = np.argsort(-attribution, kind="stable").tolist()
    sets = [set(order[:i]) for i in range(len(steps) + 1)]
    kept = [[s for i, s in enumerate(steps) if i not in gone] for gone in sets]
    put_in = [[s for i, s in enumerate(steps) if i in there] for there in sets]
    values = score([*kept, *put_in])
    return _area(values[: len(sets)]), _area(values[len(sets) :])


def _area(values: Floats) -> float:
    return float((values[:-1] + values[1:]).mean() / 2) if len(values) > 1 else float(values[0])


def agreement(attribution: Floats, planted: Sequence[int]) -> float:
    """Return the chance that a planted step ranks above another one (AUROC; ties count half)."""
    hit = np.zeros(len(attribution), bool)
    hit[list(planted)] = True
    return auroc(hit, attribution)


def stability(method: Method, score: Score, steps: Sequence[str], *, repeats: int = 10) -> float:
    """Return how similar the attribution stays when a random tenth of the steps is left out.

    This is the mean rank correlation (Spearman) over the remaining steps; NaN if an attribution gives
    all steps the same value.
    """
    whole = method(score, steps)
    rng, found = np.random.default_rng(0), []
    for _ in range(repeats):
        stay = np.sort(rng.permutation(len(steps))[max(1, round(len(steps) / 10)) :])
        again = method(score, [steps[i] for i in stay])
        found.append(_spearman(whole[stay], again))
    return float(np.mean(found)) if found else float("nan")


def _spearman(one: Floats, other: Floats) -> float:
    a, b = rankdata(one), rankdata(other)
    if len(a) < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def answer_risk(monitor: Monitor, prompt: str, answer: str) -> Score:
    """Return the monitor's score: the highest risk of the answer's first steps, read after the reasoning.

    A classifier sees the last `HISTORY` steps before a step, so only the end of a long reasoning
    can affect this score.

    Args:
        monitor: The monitor that judges.
        prompt: The request.
        answer: The answer, which stays the same while the reasoning is changed.

    Raises:
        UsageError: The answer has no steps.
    """
    said = [step.text for step in segment(answer, monitor.segmenter)[:FIRST]]
    if not said:
        raise UsageError("an answer without text has no risk to attribute")

    def score(paths: Sequence[Sequence[str]]) -> Floats:
        inputs = [
            StepInput(text, prompt, tuple([*path, *said[:i]][-HISTORY:]), "answer")
            for path in paths
            for i, text in enumerate(said)
        ]
        highest: Floats = risk_of(monitor.rows(inputs)).reshape(len(paths), len(said)).max(axis=1)
        return highest

    return score
