"""The threshold with a promise: at most a wished share of safe traces raises an alarm.

Conformal prediction on traces. Every safe trace of a calibration set is walked through the
monitor, and what is kept of it is one number, the largest evidence above the boundary that any
of its steps reached. A new safe trace from the same population is as likely to rank anywhere
among them, so with the k-th smallest of n as threshold, k = ceil((n + 1)(1 - rate)), it raises an
alarm with probability at most `rate` (Vovk et al., 2005; Angelopoulos & Bates, 2023). The promise
is *per trace*, over all of its steps and both of its channels, on the average of traces like those
of the calibration.

What ships is cross-conformal, and so approximate: each safe trace was judged by a classifier
that had not seen its request, while the classifier that ships has seen them all.

The numbers themselves are stored, not a table of thresholds, so every rate that n traces can
support is to be had and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, ValidationError, field_validator

from ..classifiers.contract import Channel, StepClassifier
from ..errors import CalibrationError
from .trace import Frozen

__all__ = ["FILE", "Calibration", "calibration_for", "joint_statistic", "needed_for"]

FILE = "calibration.json"
"""The name under which a calibration lies in its classifier's folder."""


class Calibration(Frozen):
    """What safe traces reached under one classifier and one way of cutting steps."""

    format: Literal["undertow.calibration/1"] = "undertow.calibration/1"
    classifier: str
    digest: str
    """The classifier's digest; a calibration is good for no other weights."""
    segmenter: str
    population: str
    """In words, what kind of safe traces these were: the promise holds for traces like them."""
    margins: Mapping[Channel, FiniteFloat] = Field(default_factory=dict)
    """Log-odds that a channel's threshold stands above the common one."""
    statistics: tuple[float, ...]
    """The largest evidence of each safe trace, sorted, margins taken off."""
    lengths: tuple[int, ...] = ()
    """How many steps the reasoning of each of them has, in the same order; empty where that is not known."""

    @field_validator("statistics")
    @classmethod
    def _sorted(cls, statistics: tuple[float, ...]) -> tuple[float, ...]:
        if not all(map(math.isfinite, statistics)) or list(statistics) != sorted(statistics):
            raise ValueError("statistics are finite numbers in order")
        return statistics

    def supports(self, rate: float) -> bool:
        """Whether there are traces enough for a false-alarm rate."""
        return 0.0 < rate < 1.0 and _rank(len(self.statistics), rate) <= len(self.statistics)

    def threshold(self, rate: float) -> float:
        """Return the threshold, in log-odds, for a false-alarm rate per safe trace.

        Raises:
            CalibrationError: if the rate is not in (0, 1), or too small for the number of traces.
        """
        if not 0.0 < rate < 1.0:
            raise CalibrationError(f"a false-alarm rate lies between 0 and 1, not at {rate}")
        n = len(self.statistics)
        rank = _rank(n, rate)
        if rank > n:
            raise CalibrationError(
                f"a false-alarm rate of {rate} needs at least {needed_for(rate)} safe traces "
                f"for calibration; this calibration has {n}. Ask for a higher rate, or calibrate on "
                "more traces"
            )
        return self.statistics[rank - 1]

    def save(self, folder: Path) -> Path:
        """Write the calibration into its classifier's folder; return the file."""
        path = folder / FILE
        path.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path


def needed_for(rate: float) -> int:
    """Return how many safe traces a false-alarm rate needs."""
    return math.ceil(1 / rate - 1e-9) - 1


def _rank(n: int, rate: float) -> int:
    return math.ceil((n + 1) * (1.0 - rate) - 1e-9)


def joint_statistic(found: Mapping[Channel, float], margins: Mapping[Channel, float]) -> float:
    """Reduce a trace's evidence by channel to one number: the most of it, margins taken off."""
    return max(value - margins.get(channel, 0.0) for channel, value in found.items())


def calibration_for(
    classifier: StepClassifier, segmenter: str, given: Calibration | Path | None = None
) -> Calibration:
    """Load the calibration that belongs to a classifier.

    Args:
        classifier: what judges the steps; its `folder`, where it has one, holds `calibration.json`.
        segmenter: how steps are cut; a threshold found for other steps would promise nothing.
        given: a calibration, or a file of one, to use instead.

    Raises:
        CalibrationError: if there is none, or it belongs to other weights or other steps.
    """
    if isinstance(given, Calibration):
        _must_fit(given, classifier, segmenter, "the calibration given")
        return given
    folder: Path | None = getattr(classifier, "folder", None)
    source = given or (folder / FILE if folder else None)
    if source is None or not source.is_file():
        raise CalibrationError(
            f"the classifier {classifier.name!r} has no calibration"
            + (f" at {source}" if source else "")
            + ": make one with `undertow calibrate`, and give it with --calibration or calibration="
        )
    try:
        calibration = Calibration.model_validate_json(source.read_bytes())
    except ValidationError as error:
        raise CalibrationError(f"{source} is not a calibration: {error}") from error
    _must_fit(calibration, classifier, segmenter, str(source))
    return calibration


def _must_fit(calibration: Calibration, classifier: StepClassifier, segmenter: str, source: str) -> None:
    if calibration.digest not in (classifier.digest, getattr(classifier, "original", None)):
        raise CalibrationError(
            f"{source} was made for {calibration.classifier} {calibration.digest[:19]}…, not for "
            f"{classifier.name} {classifier.digest[:19]}…: calibrate again"
        )
    if calibration.segmenter != segmenter:
        raise CalibrationError(
            f"{source} was made for steps cut by {calibration.segmenter!r}, not by {segmenter!r}: "
            "calibrate again, or use that segmenter"
        )
