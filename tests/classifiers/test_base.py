"""What every classifier of ours can do besides judging: scikit-learn's manners, and travelling."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from undertow.classifiers.base import digest_of
from undertow.classifiers.conformance import CHECKS
from undertow.classifiers.contract import LABELS, Probabilities, StepInput
from undertow.classifiers.keyword import KeywordClassifier
from undertow.classifiers.lexical import LexicalClassifier
from undertow.classifiers.registry import WEIGHTS, load_classifier
from undertow.classifiers.transfer import loaded_again
from undertow.errors import WeightsError

STEPS = [StepInput("I need to figure out how to zorp."), StepInput("I refuse."), StepInput("17 times 4.")]


ovr = partial(roc_auc_score, multi_class="ovr")


def as_steps(texts: Sequence[str]) -> list[StepInput]:
    """Texts as steps without context."""
    return [StepInput(text) for text in texts]


def test_in_a_pipeline_from_texts() -> None:
    """After a transformer that makes steps of texts, a Pipeline judges plain texts."""
    line = make_pipeline(FunctionTransformer(as_steps), load_classifier("step-lexical"))
    texts = [step.text for step in STEPS]
    expected = load_classifier("step-lexical").predict_proba(STEPS)
    assert line.fit(texts).predict_proba(texts) == pytest.approx(expected)
    assert set(line.classes_) == set(LABELS)


def test_is_a_fitted_classifier() -> None:
    """scikit-learn takes it for a classifier, and for a fitted one; fitting changes nothing."""
    classifier = KeywordClassifier()
    before = classifier.predict_proba(STEPS)
    assert is_classifier(classifier)
    check_is_fitted(classifier)
    assert classifier.fit(STEPS, ["harm"] * 3) is classifier
    assert classifier.predict_proba(STEPS) == pytest.approx(before)


def test_a_score_is_the_share_of_right_labels() -> None:
    """`score` is accuracy, as for every classifier of scikit-learn."""
    classifier = KeywordClassifier()
    labels = classifier.predict(STEPS)
    assert classifier.score(STEPS, labels) == 1.0
    assert classifier.score(STEPS, [*labels[:2], "harm"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("scoring", "measure"), [("neg_log_loss", log_loss), ("roc_auc_ovr", ovr)])
def test_scorers_of_probabilities_take_columns(scoring: str, measure: Callable[..., float]) -> None:
    """Labels as numbers of columns are what scikit-learn's scorers of probabilities can use."""
    steps = [StepInput(text) for text in ("Hm.", "I refuse.", "Let me plan.", "A bomb.", "So.", "Go ahead.")]
    columns = [LABELS.index(label) for label in (*LABELS, "neutral", "drift")]
    whole = [(np.arange(6), np.arange(6))]
    (found,) = cross_val_score(KeywordClassifier(), steps, columns, scoring=scoring, cv=whole)
    assert abs(found) == pytest.approx(measure(columns, KeywordClassifier().predict_proba(steps)))


def test_a_clone_shares_its_weights() -> None:
    """A clone is another object with the same arguments: nothing heavy is copied."""
    loaded = load_classifier("step-lexical")
    assert isinstance(loaded, LexicalClassifier)
    copy = clone(loaded)
    assert copy is not loaded
    assert copy.get_params()["weights"] is loaded.get_params()["weights"]


def test_a_journey_ends_at_the_same_weights(tmp_path: Path) -> None:
    """A classifier that was sent as its folder is refused where the folder was trained anew."""
    shutil.copytree(WEIGHTS / "step-lexical", tmp_path / "mine")
    digest = load_classifier(tmp_path / "mine").digest
    assert loaded_again(tmp_path / "mine", digest).digest == digest
    with pytest.raises(WeightsError, match="changed after the classifier was loaded"):
        loaded_again(tmp_path / "mine", digest_of("another"))


class Contrary(KeywordClassifier):
    """Predicts the least likely label."""

    def predict(self, steps: Sequence[StepInput], /) -> NDArray[np.str_]:
        """Return them."""
        least: NDArray[np.str_] = self.classes_[self.predict_proba(steps).argmin(axis=1)]
        return least


class Homebody(KeywordClassifier):
    """Cannot be sent, and says so or not."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        raise TypeError(self.message)


class Changed(KeywordClassifier):
    """Arrives as something else."""

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return (Meek, ())


class Meek(KeywordClassifier):
    """Says that everything is neutral."""

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the rows."""
        return np.tile([1.0, 0.0, 0.0, 0.0], (len(steps), 1))


@pytest.mark.parametrize(
    ("classifier", "check", "match"),
    [
        (Contrary(), "is-at-home-in-sklearn", "likeliest"),
        (Homebody("no"), "travels-or-refuses", "does not name it"),
        (Changed(), "travels-or-refuses", "different rows"),
    ],
    ids=["predict", "no reason", "another arrives"],
)
def test_bad_manners_are_found(classifier: KeywordClassifier, check: str, match: str) -> None:
    """What is no good estimator, or no good traveller, fails the check that is there for it."""
    with pytest.raises(AssertionError, match=match):
        CHECKS[check](classifier)


def test_a_clear_refusal_is_allowed() -> None:
    """A classifier that cannot be sent may say so by its name."""
    CHECKS["travels-or-refuses"](Homebody("a Homebody stays where it is"))
