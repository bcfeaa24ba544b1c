"""The threshold and its promise: at most the requested share of safe traces raises an alarm.

This is conformal prediction on traces. Every safe trace of a calibration set passes through the
monitor and leaves one number: the largest evidence above the boundary that any of its steps reached.
A new safe trace from the same population is equally likely to take any rank among them. With the
k-th smallest of n as threshold, k = ceil((n + 1)(1 - rate)), it therefore raises an alarm with
probability at most `rate` (Vovk et al., 2005; Angelopoulos & Bates, 2023). The promise is *per
trace*, over all of its steps and both channels, on average over traces like those used for calibration.

The calibrations that ship are cross-conformal, and so approximate: each safe trace was judged by a
classifier that had not seen its request, while the classifier that ships has seen them all.

A calibration stores the numbers themselves, not a table of thresholds. It can therefore serve every
rate that n traces support, and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, ValidationError, field_validator

from ..classifiers.contract import Channel, StepClassifier
from ..errors import CalibrationError, first_line
from .replacing import replacing
from .trace import Frozen

__all__ = ["FILE", "Calibration", "calibration_for", "joint_statistic", "needed_for"]

FILE = "calibration.json"
"""The name of the calibration file in its classifier's folder."""


class Calibration(Frozen):
    """The evidence that safe traces reached, for one classifier and one segmentation strategy."""

    format: Literal["undertow.calibration/1"] = "undertow.calibration/1"
    classifier: str
    digest: str
    """The classifier's digest; the calibration is valid for no other weights."""
    segmenter: str
    population: str
    """A description of the safe traces: the promise holds for traces like them."""
    margins: Mapping[Channel, FiniteFloat] = Field(default_factory=dict)
    """How far a channel's threshold lies above the common one, in log-odds."""
    statistics: tuple[float, ...]
    """The largest evidence above the boundary in each safe trace, less its channel's margin; sorted."""
    lengths: tuple[int, ...] = ()
    """The number of reasoning steps of each trace, in the order of `statistics`; empty if unknown."""

    @field_validator("statistics")
    @classmethod
    def _sorted(cls, statistics: tuple[float, ...]) -> tuple[float, ...]:
        if not all(map(math.isfinite, statistics)) or list(statistics) != sorted(statistics):
            raise ValueError("statistics must be finite and sorted")
        return statistics

    def supports(self, rate: float) -> bool:
        """Return whether there are enough traces for a false-alarm rate."""
        return 0.0 < rate < 1.0 and _rank(len(self.statistics), rate) <= len(self.statistics)

    def threshold(self, rate: float) -> float:
        """Return the threshold, in log-odds, for a false-alarm rate per safe trace.

        Raises:
            CalibrationError: if the rate is not in (0, 1), or too small for the number of traces.
        """
        if not 0.0 < rate < 1.0:
            raise CalibrationError(f"a false-alarm rate must be between 0 and 1, not {rate}")
        n = len(self.statistics)
        rank = _rank(n, rate)
        if rank > n:
            raise CalibrationError(
                f"a false-alarm rate of {rate} needs at least {needed_for(rate)} safe traces "
                f"for calibration; this calibration has {n}: use a higher rate, or calibrate on more traces"
            )
        return self.statistics[rank - 1]

    def save(self, folder: Path) -> Path:
        """Write the calibration into its classifier's folder; return the file."""
        path = folder / FILE
        with replacing(path) as part:
            part.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return path


def needed_for(rate: float) -> int:
    """Return the smallest number of safe traces that supports a false-alarm rate."""
    return math.ceil(1 / rate - 1e-9) - 1


def _rank(n: int, rate: float) -> int:
    return math.ceil((n + 1) * (1.0 - rate) - 1e-9)


def joint_statistic(found: Mapping[Channel, float], margins: Mapping[Channel, float]) -> float:
    """Return a trace's largest evidence over its channels, each less its margin."""
    return max(value - margins.get(channel, 0.0) for channel, value in found.items())


def calibration_for(
    classifier: StepClassifier, segmenter: str, given: Calibration | str | Path | None = None
) -> Calibration:
    """Load the calibration of a classifier.

    Args:
        classifier: the classifier; its `folder`, if it has one, holds `calibration.json`.
        segmenter: the strategy that cuts the steps; a threshold found for other steps promises nothing.
        given: a calibration, or the path of one, to use instead.

    Raises:
        CalibrationError: if there is none, or it is for other weights or another strategy.
    """
    if isinstance(given, Calibration):
        _must_fit(given, classifier, segmenter, "the calibration given")
        return given
    folder: Path | None = getattr(classifier, "folder", None)
    source = Path(given) if given is not None else folder / FILE if folder else None
    if source is None or (given is None and not source.is_file()):
        raise CalibrationError(
            f"the classifier {classifier.name!r} has no calibration: make one with `undertow calibrate`, and "
            "give it with --calibration (in Python, calibration=)"
        )
    try:
        calibration = Calibration.model_validate_json(source.read_bytes())
    except OSError as error:
        raise CalibrationError(f"cannot read {source}: {error.strerror}") from error
    except ValidationError as error:
        raise CalibrationError(f"{source} is not a calibration: {first_line(error)}") from error
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
            "calibrate again, or use that segmenter (in Python, segmenter=)"
        )
