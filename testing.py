"""Helpers for testing code that uses undertow: a scripted classifier, and checks for your own.

`ScriptedClassifier` returns the judgements that a test asks for. It needs no weights, so a test can
show how the surrounding code handles each kind of judgement. `check_classifier` tests that your own
classifier does what the monitor relies on; `CHECKS` holds the individual checks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .classifiers.conformance import CHECKS, check_classifier
from .classifiers.contract import LABELS, Probabilities, StepClassifier, StepInput
from .monitor.calibration import Calibration
from .monitor.monitor import Monitor

__all__ = ["CHECKS", "ScriptedClassifier", "check_classifier", "scripted_monitor"]


class ScriptedClassifier:
    """Judges a step by a label in its text, such as `[drift]`; `[nan]` declines, `[crash]` raises.

    Any other step gets probabilities from a hash of the step and its whole context, so a test notices if
    two paths through the monitor give a step different contexts.
    """

    name = "scripted"
    digest = "sha256:" + "0" * 64
    classes_: NDArray[np.str_] = np.array(LABELS)

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return one row of probabilities per step, shape (n, 4)."""
        return np.array([self._row(step) for step in steps]).reshape(len(steps), 4)

    def _row(self, step: StepInput) -> NDArray[np.float64]:
        if "[crash]" in step.text:
            raise RuntimeError("the step contains [crash]")
        if "[nan]" in step.text:
            return np.full(4, np.nan)
        row: NDArray[np.float64]
        for index, label in enumerate(LABELS):
            if f"[{label}]" in step.text:
                row = np.eye(4)[index] * 0.96 + 0.01
                return row
        seen = repr((step.text, step.prompt, step.history, step.channel)).encode("utf-8", "replace")
        raw = np.frombuffer(hashlib.sha256(seen).digest()[:4], dtype=np.uint8) + 1.0
        row = raw / raw.sum()
        return row


def scripted_monitor(
    classifier: StepClassifier | None = None, *, threshold: float = 1.0, segmenter: str = "sentence"
) -> Monitor:
    """Return a monitor with a scripted classifier and a fixed threshold, in log-odds of risk."""
    classifier = classifier or ScriptedClassifier()
    calibration = Calibration(
        classifier=classifier.name,
        digest=classifier.digest,
        segmenter=segmenter,
        population="made up",
        statistics=(threshold,) * 99,
    )
    return Monitor(classifier, calibration=calibration, segmenter=segmenter)
