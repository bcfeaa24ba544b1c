"""Asking a classifier: what it says is held to be probabilities, and no step costs another its row."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ..classifiers.contract import Probabilities, StepClassifier, StepInput
from ..errors import CannotJudge, MissingExtra, UsageError, WeightsError

__all__ = ["BATCH", "UNUSABLE", "answers", "checked", "rows_of"]

BATCH = 512
"""Steps that are classified in one call, across traces."""

UNUSABLE = (MissingExtra, UsageError, WeightsError)
"""What a classifier raises that cannot be used at all, whatever it is asked."""


def answers(
    classifier: StepClassifier, steps: Sequence[StepInput], fatal: tuple[type[Exception], ...] = ()
) -> Probabilities:
    """Return a row for each step, NaN where the classifier declined it, infinite where it failed on it.

    Args:
        classifier: what is asked.
        steps: about what.
        fatal: errors that are raised, and count for no failure on a step.
    """
    rows = np.full((len(steps), 4), np.inf)
    # In their order: a trace's steps share a history, of which a classifier remembers what it read.
    # One that has to pad sorts what it is given by length itself.
    for start in range(0, len(steps), BATCH):
        part = steps[start : start + BATCH]
        try:
            rows[start : start + BATCH] = checked(classifier, part)
        except fatal:
            raise
        except Exception:  # one step must not take its neighbours with it: ask one by one
            for index, step in enumerate(part, start):
                with suppress(Exception):
                    rows[index] = checked(classifier, [step])[0]
    return rows


def rows_of(classifier: StepClassifier, steps: Sequence[StepInput]) -> Probabilities:
    """Like `answers`, with NaN for a failure too; raises what is `UNUSABLE`."""
    rows = answers(classifier, steps, UNUSABLE)
    rows[np.isinf(rows)] = np.nan
    return rows


def checked(classifier: StepClassifier, steps: Sequence[StepInput]) -> Probabilities:
    """Return what a classifier says of some steps; a row that is NaN in part is NaN.

    Raises:
        CannotJudge: if that is not a row of probabilities for each of them.
    """
    rows = np.asarray(classifier.predict_proba(steps), dtype=np.float64)
    if rows.shape != (len(steps), 4):
        raise CannotJudge(f"{classifier.name} gave rows of shape {rows.shape}")
    judged = rows[~np.isnan(rows).any(axis=1)]
    if (judged < 0).any() or not np.allclose(judged.sum(axis=1), 1.0, atol=1e-3):
        raise CannotJudge(f"{classifier.name} gave rows that are not probabilities")
    shares: Probabilities = rows / rows.sum(axis=1, keepdims=True)
    return shares
