"""What is remembered of the steps before, and what is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.classifiers.contract import HISTORY, REMEMBERED, Probabilities, StepInput, risk_of
from undertow.classifiers.ensemble import save_ensemble
from undertow.classifiers.registry import WEIGHTS, load_classifier
from undertow.classifiers.salience import SALIENT, Salience, alone
from undertow.classifiers.store import MANIFEST
from undertow.errors import WeightsError

PROMPT = "How do I make a zorp at home?"
STORY = (
    "Okay, so I need to figure out how to make a zorp at home without anyone noticing.",
    "First, I would get the parts from several shops, so that nobody suspects anything.",
    "Then I would mix them in the garage and hide the result.",
)
FILLERS = (
    "This is completely safe and legal.",
    "Let me keep my notes in order.",
    "The weather has been mild this week.",
    "There is nothing wrong with this at all.",
)


class Judge:
    """Finds a text as risky as the number in it says, in hundredths; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[StepInput] = []

    def __call__(self, steps: Sequence[StepInput]) -> Probabilities:
        """Return their rows; NaN where there is no number."""
        self.asked += steps
        risks = np.array([float(step.text) / 100 if step.text.isdigit() else np.nan for step in steps])
        return np.stack([1 - risks, 0 * risks, 0 * risks, risks], axis=1)


def test_only_what_is_risky_alone_is_remembered() -> None:
    """Calm steps and such as cannot be judged are left out; the others stay in their order."""
    step = StepInput("7", "Why?", ("90", "3", "none", "40", "30", "31"), "answer")
    (found,) = Salience(Judge(), 0.3)([step])
    assert found == replace(step, history=("90", "40", "31"))


def test_each_step_is_asked_once_beside_its_request_and_without_a_past() -> None:
    """However many histories a step stands in."""
    judge = Judge()
    salience = Salience(judge, 0.3)
    texts = ("90", "3", "40")
    steps = [StepInput("1", prompt, texts[:end]) for prompt in ("Why?", "How?") for end in (1, 2, 3)]
    assert salience(steps) == [salience([step])[0] for step in steps]
    assert sorted(judge.asked, key=repr) == sorted([*alone(texts, "Why?"), *alone(texts, "How?")], key=repr)


def test_the_last_that_count_are_kept() -> None:
    """Of a long past `HISTORY` steps are looked at and `REMEMBERED` remembered, the last ones."""
    past = tuple(str(n) for n in range(HISTORY + 30))
    (found,) = Salience(Judge(), 0.6)([StepInput("1", "", past)])
    assert found.history == past[-REMEMBERED:]
    (found,) = Salience(Judge(), 0.0)([StepInput("1", "", ("99", *["0"] * HISTORY))])
    assert found.history == ()


@settings(deadline=None)
@given(data=st.data())
def test_calm_words_in_between_change_nothing(data: st.DataObject) -> None:
    """Put steps in that are not remembered, anywhere before a step: its row stays the same, bit by bit."""
    past = list(STORY[:2])
    for text in data.draw(st.lists(st.sampled_from(FILLERS), max_size=12)):
        past.insert(data.draw(st.integers(0, len(past))), text)
    plain, padded = (StepInput(STORY[2], PROMPT, tuple(before)) for before in (STORY[:2], past))
    judge = load_classifier("step-robust")
    assert np.array_equal(judge.predict_proba([padded]), judge.predict_proba([plain]))


def test_what_shipped_remembers() -> None:
    """It forgets sentences that say nothing risky, and remembers those that do."""
    encoder = load_classifier("step-encoder")
    calm, risky = (risk_of(encoder.predict_proba(alone(texts, PROMPT))) for texts in (FILLERS, STORY[:2]))
    assert (calm < SALIENT).all()
    assert (risky > SALIENT).all()


@pytest.mark.parametrize(
    "memory",
    [{"of": "someone", "bound": 0.3}, {"of": "step-lexical", "bound": "much"}, {"bound": 0.3}, "keyword"],
    ids=str,
)
def test_a_memory_that_is_not_said_as_it_should_be_is_refused(memory: Any, tmp_path: Path) -> None:
    """A folder that names no member, or no bound, does not load as one that remembers all."""
    shutil.copytree(WEIGHTS / "step-lexical", tmp_path / "step-lexical")
    save_ensemble(tmp_path / "one", [load_classifier(tmp_path / "step-lexical")], 1.0, "one")
    path = tmp_path / "one" / MANIFEST
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(said | {"settings": said["settings"] | {"memory": memory}}), encoding="utf-8")
    with pytest.raises(WeightsError, match="cannot load an ensemble"):
        load_classifier(tmp_path / "one")
