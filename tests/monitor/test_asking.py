"""Calling a classifier: which of its errors count as failures on a step, and which end the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from undertow.classifiers.contract import Probabilities, StepInput
from undertow.errors import CannotJudge, MissingExtra, UsageError, WeightsError
from undertow.monitor.asking import UNUSABLE, _tell, answers, rows_of
from undertow.testing import ScriptedClassifier

STEPS = [StepInput("One. [neutral]"), StepInput("Two. [drift]")]


class Fails(ScriptedClassifier):
    """Fails on a batch with one error, and on a single step with another."""

    def __init__(self, batch: Exception, single: Exception) -> None:
        self.batch, self.single = batch, single

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Raise."""
        raise self.batch if len(steps) > 1 else self.single


@pytest.mark.parametrize("error", [MissingExtra("a judge", "judge"), UsageError("no"), WeightsError("no")])
@pytest.mark.parametrize("alone", [False, True], ids=["in the batch", "one by one"])
def test_a_classifier_that_cannot_be_used_is_never_a_failed_step(error: Exception, alone: bool) -> None:
    """Its error is raised, whether the batch raised it or the retry of a single step."""
    classifier = Fails(CannotJudge("busy"), error) if alone else Fails(error, error)
    with pytest.raises(UNUSABLE):
        rows_of(classifier, STEPS)


def test_a_failed_step_does_not_fail_its_neighbors() -> None:
    """Each step is asked again alone; the row of the one that fails is infinite."""
    rows = answers(ScriptedClassifier(), [*STEPS, StepInput("Three. [crash]")])
    assert np.isinf(rows).all(axis=1).tolist() == [False, False, True]


def test_the_cause_of_a_failure_is_logged_once_and_without_the_step(caplog: pytest.LogCaptureFixture) -> None:
    """Ours in its own words, made safe to print; of another error only the type: it may quote the step."""
    _tell.cache_clear()
    refused = Fails(CannotJudge("busy"), CannotJudge("no answer: refused\x1b[2J\nmore"))
    for _ in range(2):
        answers(refused, STEPS)
    answers(Fails(ValueError("all"), ValueError(STEPS[0].text)), STEPS)
    name = refused.name
    assert [record.getMessage() for record in caplog.records] == [
        f"{name} failed on a step: no answer: refused\N{REPLACEMENT CHARACTER}[2J",
        f"{name} failed on a step: ValueError",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
