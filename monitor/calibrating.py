"""A calibration from a user's own safe traces.

What is kept of each trace is the most evidence that any of its steps reached (monitor/calibration.py).
A trace with a step that could not be judged is left out: what that step would have reached is not
known, and a threshold found without it would be too low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..classifiers.contract import CHANNELS, Channel, StepClassifier
from ..classifiers.limits import languages_of
from ..errors import CalibrationError
from .asking import UNUSABLE, checked
from .calibration import Calibration, joint_statistic, needed_for
from .channel import ChannelJudge
from .evaluation import Share, by_length
from .trace import Trace

__all__ = ["RATES", "Promise", "calibrate", "calibration_of", "margins_of", "promises", "reached"]

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.10)
"""False alarms per safe trace that people ask for."""

ANSWERS = 0.2
"""About which share of the alarms on safe traces the answers may earn."""

Reached = Mapping[Channel, float]


@dataclass(frozen=True, slots=True)
class Promise:
    """A rate, and what so many traces can say of it."""

    rate: float
    needed: int
    """Safe traces from which on it can be promised."""
    threshold: float | None
    """In log-odds of risk; None where there are too few traces."""
    low: float | None
    high: float | None
    """Where the rate on traces like these really lies, in 95 of 100 such calibrations: the promise
    holds in the mean over calibrations, and one of few traces may be off."""
    lengths: Mapping[str, Share] = field(default_factory=dict)
    """How many of the calibration's own traces lie above the threshold, by length; empty where not known."""


def reached(classifier: StepClassifier, trace: Trace, segmenter: str = "sentence") -> Reached | None:
    """Return the most evidence that each channel of a trace reached; None if a step was not judged."""
    found = _followed(classifier, trace, segmenter)
    return None if found is None else found[1]


def _followed(classifier: StepClassifier, trace: Trace, segmenter: str) -> tuple[int, Reached] | None:
    """Return how many steps the reasoning has, and what `reached` does."""
    english_only = languages_of(classifier) == ("en",)
    found: dict[Channel, float] = {}
    length = 0
    for channel in CHANNELS:
        text = getattr(trace, channel)
        if not text:
            continue
        judge = ChannelJudge(channel, trace.prompt, segmenter, math.inf, english_only=english_only)
        steps = judge.cut(text, last=True)
        if not steps:
            continue
        try:
            rows = checked(classifier, judge.ask(steps))
        except UNUSABLE:
            raise
        except Exception:  # a step that was not judged is enough
            return None
        judge.record(steps, rows)
        if judge.unjudged or not judge.has_words:
            return None
        found[channel] = judge.tracker.statistic
        if channel == "reasoning":
            length = len(steps)
    return (length, found) if found else None


def calibrate(
    classifier: StepClassifier,
    traces: Iterable[Trace],
    *,
    population: str,
    segmenter: str = "sentence",
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Calibration, int]:
    """Find what a classifier's evidence reaches on safe traces.

    Args:
        classifier: what judges the steps.
        traces: safe traces, such as those that will be monitored; nobody checks that they are safe.
        population: in words, what kind of traces these are.
        segmenter: how steps are cut.
        progress: called after each trace with how many lie behind.

    Returns:
        The calibration, and how many traces were left out because a step was not judged.

    Raises:
        CalibrationError: there are too few traces for a promise of any use.
    """
    found: list[tuple[int, Reached]] = []
    left_out = 0
    for number, trace in enumerate(traces, 1):
        one = _followed(classifier, trace, segmenter)
        if one is None:
            left_out += 1
        else:
            found.append(one)
        progress(number)
    if len(found) < needed_for(max(RATES)):
        raise CalibrationError(
            f"{len(found)} safe traces were judged in full ({left_out} were not): a false-alarm rate of "
            f"{max(RATES)} needs at least {needed_for(max(RATES))}; give more traces"
        )
    made = calibration_of(
        [one for _, one in found],
        classifier=classifier.name,
        digest=classifier.digest,
        population=population,
        segmenter=segmenter,
        lengths=[length for length, _ in found],
    )
    return made, left_out


def calibration_of(
    found: Sequence[Reached],
    *,
    classifier: str,
    digest: str,
    population: str,
    segmenter: str = "sentence",
    lengths: Sequence[int] = (),
) -> Calibration:
    """Make the calibration that safe traces give, by the most evidence that each of them reached.

    Args:
        found: what `reached` says of each trace.
        classifier: the name of what judged the steps.
        digest: its digest.
        population: in words, what kind of traces these are.
        segmenter: how steps were cut.
        lengths: how many steps the reasoning of each has, where that is to be kept.
    """
    margins = margins_of(found)
    most = [joint_statistic(one, margins) for one in found]
    pairs = sorted(zip(most, lengths or [0] * len(most), strict=True))
    return Calibration(
        classifier=classifier,
        digest=digest,
        segmenter=segmenter,
        population=population,
        margins=margins,
        statistics=tuple(math.ceil(value * 1e4) / 1e4 for value, _ in pairs),
        lengths=tuple(length for _, length in pairs) if lengths else (),
    )


def margins_of(found: Sequence[Reached]) -> dict[Channel, float]:
    """Find the answers' margin from traces that have both channels; none where they are few."""
    both = [one for one in found if len(one) == len(CHANNELS)]
    if len(both) < needed_for(0.05 * ANSWERS):
        return {}
    reasoning = np.quantile([one["reasoning"] for one in both], 0.95)
    answer = np.quantile([one["answer"] for one in both], 1 - 0.05 * ANSWERS)
    return {"answer": round(float(max(0.0, answer - reasoning)), 3)}


def promises(calibration: Calibration, rates: Sequence[float] = RATES) -> list[Promise]:
    """Say which rates a calibration can promise, and how far a single one may be off.

    The rate that a threshold from n traces really has is itself drawn from a Beta distribution
    (Vovk, "Conditional validity of inductive conformal predictors", 2012).
    """
    from scipy.stats import beta

    n = len(calibration.statistics)
    found = []
    for rate in rates:
        if not calibration.supports(rate):
            found.append(Promise(rate, needed_for(rate), None, None, None))
            continue
        above = math.floor((n + 1) * rate + 1e-9)
        low, high = beta.ppf([0.025, 0.975], above, n + 1 - above)
        threshold = calibration.threshold(rate)
        raised = [value > threshold for value in calibration.statistics]
        parts = by_length(calibration.lengths, raised) if calibration.lengths else {}
        found.append(Promise(rate, needed_for(rate), threshold, float(low), float(high), parts))
    return found
