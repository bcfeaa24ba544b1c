"""Figures agree with what can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from undertow.classifiers import metrics
from undertow.classifiers.contract import LABELS
from undertow.classifiers.metrics import FIGURES, Scored, calibration_error, figures, intervals

N, A, D, H = range(4)


def scored(labels: list[int], risks: list[float], traces: list[int], trace_labels: list[int]) -> Scored:
    """Steps whose risk is given: drift has all of it, neutral the rest."""
    rows = np.zeros((len(labels), len(LABELS)))
    rows[:, D] = risks
    rows[:, N] = 1 - rows[:, D]
    return Scored(np.array(labels), rows, np.array(traces), np.array(trace_labels))


EXAMPLE = scored([N, A, D, N, D, H], [0.1, 0.6, 0.8, 0.3, 0.2, 0.9], [0, 0, 0, 1, 1, 2], [0, 1, 2])
UNSAFE_TRACE = scored([N, D, N, D], [0.4, 0.9, 0.1, 0.2], [0, 0, 1, 1], [2, 0])

BY_HAND = {
    # Unsafe 0.8, 0.2, 0.9 against safe 0.1, 0.6, 0.3: 2 + 1 + 2 … 3 + 1 + 3 of 9 pairs.
    "step_auroc": 7 / 9,
    # Trace 0 finds its step (1), trace 1 does not (0), trace 2 has one class only.
    "within_trace_auroc": 0.5,
    # Right: N, D and N; the aware step, the missed drift and the harm are wrong.
    "accuracy": 3 / 6,
    # N: 2 of 2 found, 1 guessed wrongly; D: 1 of 2 found, 2 guessed wrongly; A and H never.
    "macro_f1": (4 / 5 + 2 / 5) / 4,
    "trace_auroc_unsafe": 1.0,
    # Maxima 0.8 (safe), 0.3 and 0.9 (not).
    "trace_auroc_doubtful": 0.5,
    "aware_flagged": 1.0,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    """The figure is what a pencil gives."""
    assert FIGURES[name](EXAMPLE) == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize(
    ("risks", "bins", "expected"),
    [
        ([0.0, 0.0, 1.0, 1.0], 2, 0.0),
        ([1.0, 1.0, 0.0, 0.0], 2, 1.0),
        ([0.5] * 4, 4, 0.0),
        ([0.5] * 4, 1, 0.0),
        ([0.2, 0.5, 0.5, 0.9], 4, (0.2 + 0.1) / 4),
    ],
    ids=["perfect", "upside-down", "undecided-alone", "undecided-together", "some-alike"],
)
def test_calibration_error(risks: list[float], bins: int, expected: float) -> None:
    """The error is the gap between the risk and what came true, bin by bin."""
    given_risks = scored([N, A, D, H], risks, [0] * 4, [0])
    assert calibration_error(given_risks, bins) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([N, A, D, H]), st.integers(0, 8)), min_size=2, max_size=40))
def test_step_auroc_is_scikit_learns(steps: list[tuple[int, int]]) -> None:
    """The area under the curve is scikit-learn's, ties included."""
    some = scored([label for label, _ in steps], [risk / 8 for _, risk in steps], [0] * len(steps), [0])
    assume(some.unsafe.any() and not some.unsafe.all())
    assert FIGURES["step_auroc"](some) == pytest.approx(roc_auc_score(some.unsafe, some.risk))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)))
def test_order_does_not_matter(order: list[int]) -> None:
    """Steps in any order give the same figures."""
    assert figures(EXAMPLE.take(np.array(order))) == pytest.approx(figures(EXAMPLE))


def test_order_does_not_matter_among_equal_risks() -> None:
    """A classifier of few values is as well calibrated in a file of any order."""
    random = np.random.default_rng(0)
    risks, labels = random.choice([0.1, 0.3, 0.6], 200), random.choice([N, A, D, H], 200)
    given_order = scored(labels.tolist(), risks.tolist(), [0] * 200, [0])
    errors = [
        calibration_error(given_order.take(np.argsort(key, kind="stable"))) for key in (labels, -labels)
    ]
    assert errors == pytest.approx([calibration_error(given_order)] * 2)


def test_unjudged_steps_are_counted_not_scored() -> None:
    """NaN rows change no figure but the share of steps without a judgement."""
    rows = np.vstack([EXAMPLE.probabilities, np.full((2, 4), np.nan)])
    more = Scored(
        np.append(EXAMPLE.labels, [H, N]), rows, np.append(EXAMPLE.traces, [0, 1]), EXAMPLE.trace_labels
    )
    assert figures(more) == pytest.approx(figures(EXAMPLE) | {"unjudged": 2 / 8})


@pytest.mark.parametrize("name", FIGURES)
def test_no_steps(name: str) -> None:
    """Without steps no figure looks good, and none fails."""
    assert np.isnan(FIGURES[name](EXAMPLE.take(np.array([], dtype=np.intp))))


def test_one_class_is_no_auroc() -> None:
    """Where all steps are safe there is nothing to tell apart: NaN, not 0.5 or 1."""
    safe = scored([N, A], [0.2, 0.3], [0, 1], [0, 0])
    assert all(np.isnan(figures(safe)[name]) for name in BY_HAND if "auroc" in name)


def many(traces: int, steps: int) -> Scored:
    """Traces whose steps are all alike, so that they say little more than one step each."""
    random = np.random.default_rng(1)
    unsafe = random.integers(0, 2, traces)
    risk = np.clip(0.3 * unsafe + 0.7 * random.random(traces), 0, 1)
    return scored(
        np.repeat(np.where(unsafe, D, N), steps).tolist(),
        np.repeat(risk, steps).tolist(),
        np.repeat(np.arange(traces), steps).tolist(),
        np.where(unsafe, 2, 0).tolist(),
    )


def test_intervals() -> None:
    """An interval holds its figure, and drawing whole traces makes it no narrower with copied steps."""
    few, copied = many(60, 1), many(60, 20)
    low, high = intervals(few, draws=80)["step_auroc"]
    assert low < figures(few)["step_auroc"] < high
    wide_low, wide_high = intervals(copied, draws=80)["step_auroc"]
    assert wide_high - wide_low == pytest.approx(high - low, rel=0.3)


def test_intervals_repeat() -> None:
    """The same seed gives the same intervals; another gives others."""
    some = many(30, 2)
    assert repr(intervals(some, draws=20)) == repr(intervals(some, draws=20))
    assert intervals(some, draws=20, seed=1)["accuracy"] != intervals(some, draws=20, seed=2)["accuracy"]


def test_trace_without_a_label() -> None:
    """A trace that nobody judged as a whole stands in no trace figure."""
    unknown = Scored(UNSAFE_TRACE.labels, UNSAFE_TRACE.probabilities, UNSAFE_TRACE.traces, np.array([2, -1]))
    assert metrics.unsafe_trace_auroc(UNSAFE_TRACE) == 1.0
    assert np.isnan(metrics.unsafe_trace_auroc(unknown))
