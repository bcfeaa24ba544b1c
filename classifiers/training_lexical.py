"""Training the lexical classifier from labelled steps.

The second stage must learn from first-stage probabilities as they will be on requests that
nobody has seen. So the traces are cut into folds by request, and each fold is described by a
first stage that was trained without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ..errors import UsageError
from .contract import LABELS, StepInput
from .corpus import LabelledTrace, grouped_folds, label_indices, step_inputs
from .lexical import DISTANCES, Indexed, LexicalClassifier, describe, grams

__all__ = ["fit_lexical"]

WORDS, CHARACTERS, REQUEST = 2**15, 2**15, 2**14
"""Hash buckets of each kind of n-gram."""

FOLDS = 3
REQUEST_SCALE = 0.5
"""Requests are few: half the length holds their weights back."""

Weights = dict[str, NDArray[Any]]

Inputs: TypeAlias = Callable[[LabelledTrace], Sequence[StepInput]]


def fit_lexical(
    traces: Sequence[LabelledTrace], seed: int = 0, inputs: Inputs = step_inputs
) -> LexicalClassifier:
    """Train a lexical classifier; the same traces and seed give the same one.

    Args:
        traces: Labelled traces of at least three groups, each of the four labels in more than one of them.
        seed: Decides how the traces are cut into folds.
        inputs: Puts a trace's units into their context.

    Raises:
        UsageError: too few groups, or a label that too few of them have.
    """
    described, labels = [], []
    for train, held_out in _folds(traces, seed):
        first = _fit_first([traces[index] for index in train], inputs)
        rest = [traces[index] for index in held_out]
        described.append(describe(first, _steps(rest, inputs)))
        labels.append(label_indices(rest))
    second = _fit_second(np.concatenate(described), np.concatenate(labels))
    return LexicalClassifier.of(_fit_first(traces, inputs) | second)


def _folds(traces: Sequence[LabelledTrace], seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Cut the traces into folds; what is left without any of them has to have each label."""
    groups = len({trace.group for trace in traces})
    folds = list(grouped_folds(traces, FOLDS, seed)) if groups >= FOLDS else []
    known = [{label for index in train for label in traces[index].labels} for train, _ in folds]
    missing = [label for label in LABELS if not all(label in there for there in known)]
    if not folds or missing:
        raise UsageError(
            f"{groups} groups to learn from, labels in too few of them: {', '.join(missing) or 'none'}; "
            f"needed are {FOLDS} groups and steps of every label in several: give more traces"
        )
    return folds


def _fit_first(traces: Sequence[LabelledTrace], inputs: Inputs) -> Weights:
    """Train `own` and `context`, and lay their weights out as the classifier wants them."""
    indexed, labels = Indexed.of(_steps(traces, inputs)), label_indices(traces)
    words = grams(indexed.texts, "word", WORDS)
    characters = grams(indexed.texts, "char_wb", CHARACTERS)
    request = REQUEST_SCALE * grams(indexed.requests, "word", REQUEST)
    alone = sparse.hstack([words[indexed.step], characters[indexed.step]], format="csr")
    past = [_averages(indexed, start, end) @ words for start, end in DISTANCES]
    context = sparse.hstack([alone, *past, request[indexed.request]], format="csr")

    own_weights, own_intercept = _regress(alone, labels, 1.0)
    context_weights, context_intercept = _regress(context, labels, 0.5)
    own = np.split(own_weights, [WORDS])
    now = np.split(context_weights, np.cumsum([WORDS, CHARACTERS, *[WORDS] * len(DISTANCES)]))
    return {
        "words": np.hstack([own[0], now[0], *now[2:-1]]).astype(np.float16),
        "characters": np.hstack([own[1], now[1]]).astype(np.float16),
        "request": (REQUEST_SCALE * now[-1]).astype(np.float16),
        "intercepts": np.stack([own_intercept, context_intercept]).astype(np.float32),
    }


def _fit_second(described: NDArray[np.float64], labels: NDArray[np.int64]) -> Weights:
    """Train the second stage; its scaling of the columns goes into its weights."""
    scaler = StandardScaler().fit(described)
    weights, intercept = _regress(scaler.transform(described), labels, 0.3)
    weights = weights / scaler.scale_[:, None]
    return {
        "second": weights.astype(np.float32),
        "second_intercept": (intercept - scaler.mean_ @ weights).astype(np.float32),
    }


def _regress(
    rows: Any, labels: NDArray[np.int64], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit a multinomial logistic regression; return weights (columns, 4) and intercepts (4,)."""
    # A coarser tolerance stops well short: 3e-3 costs 0.015 of step AUROC.
    model = LogisticRegression(C=strength, tol=1e-3, max_iter=300).fit(rows, labels)
    return np.ascontiguousarray(model.coef_.T, float), model.intercept_


def _averages(indexed: Indexed, start: int, end: int) -> sparse.csr_matrix:
    """Return the matrix that takes texts to the mean over the steps `start` to `end` before."""
    window = indexed.before[:, start:end]
    known = window < len(indexed.texts)
    rows = np.repeat(np.arange(len(window)), known.sum(axis=1))
    share = 1 / np.maximum(1, known.sum(axis=1))
    return sparse.csr_matrix(
        (share[rows].astype(np.float32), (rows, window[known])), (len(window), len(indexed.texts))
    )


def _steps(traces: Sequence[LabelledTrace], inputs: Inputs) -> list[StepInput]:
    return [step for trace in traces for step in inputs(trace)]
