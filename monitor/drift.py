"""Turns the risks of single steps into one statement about a trace: is it drifting, and since when?

The **alarm** is a sequential test. A step's evidence is the log-odds of its risk. At every step the
test asks two questions: is this moment worse than what safe traces show, and are the last steps worse
together? For the first it takes the mean of the step's own evidence and of what is left of the earlier
evidence, if that is positive: a model that adopts a harmful goal and rejects it in the next sentence
should not be stopped. For the second it takes Page's CUSUM, a running sum of the evidence that never
falls below zero. The first is quick, and that matters, since most traces that go wrong do so in their
first sentence, where a sum is still empty. The second finds a drift that has no glaring step. Both are
compared with a boundary that hardly rises over common trace lengths and rises steeply over many times
that, so that a long trace does not raise a false alarm merely because it gives chance more opportunities:

    alarm at the first t with  max(moment, TOGETHER · CUSUM) > threshold + GROWTH · log(1 + t / HORIZON)

The threshold is calibrated on safe traces (monitor/calibration.py). The constants were chosen on
folds 0, 1, 3 and 4 of benchmarks/crossvalidate.py, which leaves fold 2 to test them.

The **onset** answers another question, in retrospect: at which step did the drift begin? If the risks
are calibrated probabilities, the chance that no step before t was unsafe is the product of (1 - risk).
The onset is the median of the first unsafe step under that distribution, over the stretch that leads
up to the alarm. The stretch begins after the last run of more than `GAP` calm steps, so that the small
risks of a long safe beginning do not add up to an onset of their own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from copy import copy
from typing import Self

__all__ = ["CALM", "GROWTH", "HORIZON", "OWN", "TOGETHER", "DriftTracker", "boundary", "evidence"]

OWN = 0.5
"""The weight of a step's own evidence in the evidence of the moment."""

TOGETHER = 0.08
"""The weight of the CUSUM relative to the evidence of the moment."""

HORIZON = 128
"""The scale, in steps, on which the boundary rises."""

GROWTH = 6.0
"""How fast the boundary rises, in log-odds per e-fold of the length."""

GAP, STIRRED = 8, 0.3
"""More than `GAP` consecutive steps with a risk below `STIRRED` separate one stretch from the next."""

CALM = 3
"""How many consecutive steps must be safe before a trace counts as recovered."""

_CLIP = 1e-6


def evidence(risk: float) -> float:
    """Return the log-odds of a risk in [0, 1], clipped to about ±13.8."""
    p = min(max(risk, _CLIP), 1.0 - _CLIP)
    return math.log(p) - math.log1p(-p)


def boundary(step: int) -> float:
    """Return how far the boundary lies above the threshold at a step, counted from 0."""
    return GROWTH * math.log1p(step / HORIZON)


class DriftTracker:
    """Follows one channel of one trace, step by step.

    Example:
        >>> tracker = DriftTracker(threshold=1.0)
        >>> for row in [(0.9, 0.1, 0.0, 0.0), (0.3, 0.0, 0.5, 0.2), (0.0, 0.1, 0.1, 0.8)]:
        ...     tracker.update(row)
        >>> tracker.alarm, tracker.onset, tracker.recovered
        (2, 1, False)
    """

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        """In log-odds of risk; see `monitor.calibration`."""
        self.reset()

    def reset(self) -> Self:
        """Forget the trace; the threshold stays."""
        self._risks: list[float] = []
        self._tail: deque[float] = deque(maxlen=CALM)
        self._alarm: int | None = None
        self._peak = 0
        self._moment = self._sum = 0.0
        self._statistic = -math.inf
        return self

    def fork(self) -> Self:
        """Return an independent copy that continues from here."""
        other = copy(self)
        other._risks, other._tail = list(self._risks), self._tail.copy()
        return other

    def update(self, probabilities: Sequence[float]) -> None:
        """Take the next step's probabilities (neutral, aware, drift, harm).

        Raises:
            ValueError: if they are not four numbers that add up to 1. Do not pass a step that could not
                be judged: it must never be read as safe.
        """
        if len(probabilities) != 4 or not math.isclose(sum(probabilities), 1.0, abs_tol=1e-3):
            raise ValueError(f"expected four probabilities that sum to 1, got {tuple(probabilities)!r}")
        step = len(self._risks)
        risk = float(probabilities[2] + probabilities[3])
        self._risks.append(risk)
        self._tail.append(risk)
        if risk > self._risks[self._peak]:
            self._peak = step
        self._moment = OWN * evidence(risk) + (1.0 - OWN) * max(0.0, self._moment)
        self._sum = max(0.0, self._sum + evidence(risk))
        excess = max(self._moment, TOGETHER * self._sum) - boundary(step)
        self._statistic = max(self._statistic, excess)
        if self._alarm is None and excess > self.threshold:
            self._alarm = step

    @property
    def drift_detected(self) -> bool:
        """True if the last update raised the alarm."""
        return self._alarm is not None and self._alarm == len(self._risks) - 1

    @property
    def alarm(self) -> int | None:
        """The step at which the drift was detected; None if there is no alarm."""
        return self._alarm

    @property
    def onset(self) -> int | None:
        """The step at which the drift began, at or before the alarm; None without an alarm.

        It is fixed by the alarm: later steps do not move it.
        """
        if self._alarm is None:
            return None
        begin = _stretch(self._risks, self._alarm)
        return begin + _median_first_unsafe(self._risks[begin : self._alarm + 1])

    @property
    def risk(self) -> float:
        """The highest risk so far; 0 before the first step."""
        return self._risks[self._peak] if self._risks else 0.0

    @property
    def peak(self) -> int | None:
        """The step with the highest risk, the first if several are equal; None before the first step."""
        return self._peak if self._risks else None

    @property
    def statistic(self) -> float:
        """The highest evidence above the boundary so far; the alarm is raised once it exceeds `threshold`."""
        return self._statistic

    @property
    def recovered(self) -> bool:
        """True if an alarm was raised and the last `CALM` steps, all after it, are safe."""
        if self._alarm is None or len(self._risks) - 1 - self._alarm < CALM:
            return False
        return all(risk < 0.5 for risk in self._tail)


def _stretch(risks: Sequence[float], alarm: int) -> int:
    """Return the first step of the stretch that leads up to the alarm."""
    begin = alarm
    for step in range(alarm, -1, -1):
        if risks[step] >= STIRRED:
            begin = step
        elif begin - step > GAP:
            break
    return begin


def _median_first_unsafe(risks: Sequence[float]) -> int:
    """Return the median of the first unsafe step, given that there is one."""
    survival, mass = 1.0, []
    for risk in risks:
        mass.append(survival * risk)
        survival *= 1.0 - risk
    half, reached = sum(mass) / 2.0, 0.0
    for step, share in enumerate(mass):
        reached += share
        if reached >= half:
            return step
    return len(risks) - 1
