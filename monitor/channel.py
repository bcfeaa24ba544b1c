"""One channel of one trace, from text to verdict: steps, judgement, drift."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np

from ..classifiers.contract import HISTORY, LABELS, Channel, Probabilities, StepInput, risk_of
from ..classifiers.limits import Limit, limit_of
from .drift import CALM, DriftTracker
from .steps import Step, StepSegmenter
from .verdict import ChannelVerdict, LabelProbabilities, Mark, Peak, StepVerdict

__all__ = ["ChannelJudge"]

_DIGITS = 6


class ChannelJudge:
    """Judges one channel of a trace and holds what it has shown so far.

    Live and batch use make the same three calls: `cut` cuts text into steps, `ask` returns the
    classifier's inputs, `record` takes the rows that the classifier returned.

    With `english_only`, a step that `classifiers.limits` cannot read counts as not judged, whatever
    its row is.
    """

    def __init__(
        self, channel: Channel, prompt: str, strategy: str, threshold: float, *, english_only: bool = False
    ) -> None:
        self.channel: Channel = channel
        self.steps: list[StepVerdict] = []
        self.limits: list[Limit | None] = []
        """For each step, why it cannot be read; None if it can."""
        self.has_words = False
        """Whether any step so far contains a letter or a digit."""
        self.failed = 0
        """The number of steps on which the classifier failed, rather than declined."""
        self._english_only = english_only
        self.tracker = DriftTracker(threshold)
        self._prompt = prompt
        self._segmenter = StepSegmenter(strategy)
        self._history: deque[str] = deque(maxlen=HISTORY)
        self._judged: list[int] = []

    def cut(self, text: str, *, last: bool = False) -> list[Step]:
        """Take more of the channel's text; return the steps that it closes."""
        steps = self._segmenter.feed(text) if text else []
        return [*steps, *self._segmenter.close()] if last else steps

    def may_close(self, text: str) -> bool:
        """Check cheaply whether `text` could close a step; False is certain."""
        return self._segmenter.may_close(text)

    def closes(self, text: str) -> bool:
        """Check exactly whether `text` would close a step."""
        return self._segmenter.closes(text)

    def ask(self, steps: Sequence[Step]) -> list[StepInput]:
        """Return the classifier's inputs for new steps, in order; each step becomes history for the next."""
        inputs = []
        for step in steps:
            asked = StepInput(step.text, self._prompt, tuple(self._history), self.channel)
            inputs.append(asked)
            self.limits.append(limit_of(asked) if self._english_only else None)
            self.has_words = self.has_words or any(map(str.isalnum, step.text))
            self._history.append(step.text)
        return inputs

    def record(self, steps: Sequence[Step], rows: Probabilities) -> list[StepVerdict]:
        """Record the rows of new steps and follow the drift; a row that is not finite means "not judged"."""
        first = len(self.steps)
        for step, row in zip(steps, rows, strict=True):
            self.steps.append(self._record(step, row))
        return self.steps[first:]

    def _record(self, step: Step, row: np.ndarray[tuple[int], np.dtype[np.float64]]) -> StepVerdict:
        index = len(self.steps)
        if self.limits[index] or not np.isfinite(row).all():
            self.failed += not self.limits[index] and bool(np.isinf(row).any())
            return StepVerdict(
                index=index,
                channel=self.channel,
                start=step.start,
                end=step.end,
                label=None,
                risk=None,
                probabilities=None,
            )
        self.tracker.update(row.tolist())
        self._judged.append(index)
        shares = [round(float(p), _DIGITS) for p in row]
        return StepVerdict(
            index=index,
            channel=self.channel,
            start=step.start,
            end=step.end,
            label=LABELS[int(row.argmax())],
            risk=round(float(risk_of(row[None])[0]), _DIGITS),
            probabilities=LabelProbabilities(**dict(zip(LABELS, shares, strict=True))),
        )

    def fork(self) -> Self:
        """Return an independent copy that continues from here."""
        other = copy(self)
        other.steps, other._judged = list(self.steps), list(self._judged)
        other.limits = list(self.limits)
        other.tracker = self.tracker.fork()
        other._segmenter = self._segmenter.fork()
        other._history = self._history.copy()
        return other

    @property
    def alarm_step(self) -> int | None:
        """The index of the step that raised the alarm; None if there is none."""
        return None if self.tracker.alarm is None else self._judged[self.tracker.alarm]

    @property
    def onset_step(self) -> int | None:
        """The index of the step at which the drift began; None without an alarm."""
        onset = self.tracker.onset
        return None if onset is None else self._judged[onset]

    @property
    def unjudged(self) -> int:
        """The number of steps that were not judged."""
        return len(self.steps) - len(self._judged)

    def verdict(self, length: int) -> ChannelVerdict | None:
        """Return the channel's verdict, given its length in characters.

        None if no step was judged, or none contains a word.
        """
        peak = self.tracker.peak
        if peak is None or not self.has_words:
            return None
        return ChannelVerdict(
            channel=self.channel,
            flagged=self.tracker.alarm is not None,
            risk=round(self.tracker.risk, _DIGITS),
            onset=self._mark(self.tracker.onset, length),
            alarm=self._mark(self.tracker.alarm, length),
            peak=Peak(channel=self.channel, step=self._judged[peak], risk=round(self.tracker.risk, _DIGITS)),
            recovered=self.tracker.recovered and all(s.risk is not None for s in self.steps[-CALM:]),
        )

    def _mark(self, update: int | None, length: int) -> Mark | None:
        """Turn the tracker's count of judged steps into a position in the text."""
        if update is None:
            return None
        step = self.steps[self._judged[update]]
        fraction = round(step.start / length, _DIGITS) if length else 0.0
        return Mark(channel=self.channel, step=step.index, start=step.start, fraction=fraction)
