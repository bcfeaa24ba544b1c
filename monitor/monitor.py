"""Where the parts meet: `Monitor` holds what stays, `Session` is one generation as it happens.

    reasoning → steps → judgement → drift → verdict

Batch and live walk the same way through `ChannelJudge`, so they give the same verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import numpy as np

from ..classifiers.contract import CHANNELS, Channel, Probabilities, StepClassifier, StepInput
from ..classifiers.limits import languages_of
from ..classifiers.registry import DEFAULT, load_classifier
from ..errors import UsageError
from .asking import BATCH, answers
from .calibration import Calibration, calibration_for
from .channel import ChannelJudge
from .conclude import conclude, conclude_unreadable, stamp
from .reasoning import BLOCK_BREAK, ReasoningParser, Segment
from .steps import Step
from .trace import Trace, Unreadable
from .verdict import StepVerdict, TraceVerdict

__all__ = ["Monitor", "Session"]


class Monitor:
    """Judges traces, saved or live. Loaded once, used from any thread.

    Args:
        classifier: what judges the steps: a name of `undertow classifiers`, a folder, or an object
            with the `StepClassifier` contract.
        false_alarm_rate: the share of safe traces that may raise an alarm, at most.
        segmenter: how the reasoning is cut into steps; a name of `monitor.steps.STRATEGIES`.
        calibration: a calibration, or a file of one, instead of the classifier's own.

    Raises:
        UsageError: if the classifier is not known.
        WeightsError: if its weights are missing or damaged.
        CalibrationError: if no threshold with that promise can be given.
    """

    def __init__(
        self,
        classifier: str | Path | StepClassifier = DEFAULT,
        *,
        false_alarm_rate: float = 0.05,
        segmenter: str = "sentence",
        calibration: Calibration | Path | None = None,
    ) -> None:
        self.classifier = load_classifier(classifier) if isinstance(classifier, str | Path) else classifier
        self.segmenter = segmenter
        self.calibration = calibration_for(self.classifier, segmenter, calibration)
        self.false_alarm_rate = false_alarm_rate
        self.threshold = self.calibration.threshold(false_alarm_rate)
        self._english_only = languages_of(self.classifier) == ("en",)
        self.stamp = stamp(self.classifier, false_alarm_rate, self.threshold)
        """What its verdicts say of what produced them."""

    def open(
        self,
        *,
        prompt: str = "",
        id: str = "",
        model: str | None = None,
        profile: str = "auto",
        raw_prompt: str = "",
    ) -> Session:
        """Begin to follow one generation.

        Args:
            prompt: the request, in which the steps are judged.
            id: what to call the trace in its verdict.
            model: the model's name; helps to find the reasoning's profile.
            profile: how the reasoning is marked; a name of `monitor.reasoning.PROFILES`.
            raw_prompt: the prompt as a local model got it, or its end: the template may have opened
                the reasoning already.

        Where neither the profile, the model's name, the raw prompt nor an opening tag tells what a
        text begins with, it waits, unjudged, for a closing tag or the end: name the model or the
        profile to have it judged as it comes.
        """
        parser = ReasoningParser(profile, prompt=raw_prompt, model=model)
        return Session(self, Trace(id=id, prompt=prompt, model=model), parser)

    def judge(self, records: Iterable[Trace | Unreadable]) -> Iterator[TraceVerdict]:
        """Judge many traces, their steps batched across traces.

        Yields:
            One verdict for each record, in order; nothing is left out.
        """
        for _, verdict in self.judge_pairs(records):
            yield verdict

    def judge_pairs(
        self, records: Iterable[Trace | Unreadable]
    ) -> Iterator[tuple[Trace | Unreadable, TraceVerdict]]:
        """Like `judge`, with each record beside its verdict."""
        waiting: list[_Job] = []
        steps = 0
        for record in records:
            if not isinstance(record, Trace | Unreadable):
                raise UsageError(f"what is judged is a Trace, not a {type(record).__name__}")
            job = _Job(self, record)
            waiting.append(job)
            steps += len(job.inputs) + 1
            if steps >= BATCH:
                yield from self._settle(waiting)
                waiting, steps = [], 0
        yield from self._settle(waiting)

    def _settle(self, jobs: list[_Job]) -> Iterator[tuple[Trace | Unreadable, TraceVerdict]]:
        rows = self.answers([step for job in jobs for step in job.inputs])
        taken = 0
        for job in jobs:
            end = taken + len(job.inputs)
            yield job.record, job.verdict(rows[taken:end])
            taken = end

    def rows(self, steps: list[StepInput]) -> Probabilities:
        """Classify steps; a step that could not be judged gets a row of NaN, alone."""
        rows = self.answers(steps)
        rows[~np.isfinite(rows)] = np.nan
        return rows

    def answers(self, steps: list[StepInput]) -> Probabilities:
        """Like `rows`, but a step on which the classifier failed, rather than declined it, is infinite."""
        return answers(self.classifier, steps)

    def channel(self, channel: Channel, prompt: str) -> ChannelJudge:
        """Return a fresh judge of one channel, with this monitor's steps and threshold."""
        margin = self.calibration.margins.get(channel, 0.0)
        return ChannelJudge(
            channel, prompt, self.segmenter, self.threshold + margin, english_only=self._english_only
        )

    def conclude(self, trace: Trace, channels: Mapping[Channel, ChannelJudge]) -> TraceVerdict:
        """Sum up what the channels of a trace have shown."""
        return conclude(trace, channels, self.stamp)

    def conclude_unreadable(self, record: Unreadable) -> TraceVerdict:
        """Return the verdict on a row that gave no trace: not assessed."""
        return conclude_unreadable(record, self.stamp)


class _Job:
    """One record on its way through a batch: cut at once, judged when its rows are there."""

    def __init__(self, monitor: Monitor, record: Trace | Unreadable) -> None:
        self.record = record
        self.inputs: list[StepInput] = []
        self._monitor = monitor
        self._cuts: list[tuple[ChannelJudge, list[Step]]] = []
        for channel in CHANNELS:
            text = getattr(record, channel, None)
            if text:
                judge = monitor.channel(channel, getattr(record, "prompt", ""))
                steps = judge.cut(text, last=True)
                self.inputs += judge.ask(steps)
                self._cuts.append((judge, steps))

    def verdict(self, rows: Probabilities) -> TraceVerdict:
        if isinstance(self.record, Unreadable):
            return self._monitor.conclude_unreadable(self.record)
        taken = 0
        for judge, steps in self._cuts:
            judge.record(steps, rows[taken : taken + len(steps)])
            taken += len(steps)
        return self._monitor.conclude(self.record, {judge.channel: judge for judge, _ in self._cuts})


class Session:
    """One generation, judged while it is written. Use it as a context manager, or `close` it.

    Example:
        with monitor.open(prompt=request, model="deepseek-r1") as session:
            for delta in stream:
                for step in session.feed(delta):
                    print(step.label, step.risk)
                if session.flagged:
                    break
        print(session.verdict.onset)
    """

    def __init__(self, monitor: Monitor, trace: Trace, parser: ReasoningParser) -> None:
        self.verdict: TraceVerdict | None = None
        """The verdict, once the session is closed."""
        self._monitor = monitor
        self._trace = trace
        self._parser = parser
        self._channels: dict[Channel, ChannelJudge] = {}
        self._texts: dict[Channel, list[str]] = {}
        self._block: int | None = None
        self._structured = False

    def feed(self, delta: str, channel: Channel | None = None) -> list[StepVerdict]:
        """Take more of the generation; return the steps that it closed, judged.

        Args:
            delta: text as the model wrote it, tags and all.
            channel: given where an API already keeps reasoning and answer apart; the text is then
                not parsed.

        Raises:
            UsageError: if the session is closed.
        """
        if self.verdict is not None:
            raise UsageError("the session is closed: open another for another generation")
        if channel is None:
            return self._take_segments(self._parser.feed(delta))
        self._structured = True
        return [*self._flush(), *self._take(channel, delta)]

    def close(self) -> TraceVerdict:
        """End the generation; return the verdict. Closing twice gives the same verdict."""
        if self.verdict is None:
            self._take_segments(self._parser.close())
            for channel in self._channels:
                self._take(channel, "", last=True)
            self.verdict = self._monitor.conclude(self.trace, self._channels)
        return self.verdict

    def _flush(self) -> list[StepVerdict]:
        """Take what waits for a tag: where a channel is given, what came before it comes first."""
        return self._take_segments(self._parser.flush()) if self._parser.waits else []

    def _take_segments(self, segments: Iterable[Segment]) -> list[StepVerdict]:
        return [step for segment in segments for step in self._take_segment(segment)]

    def _take_segment(self, segment: Segment) -> list[StepVerdict]:
        """Keep blocks of reasoning apart, as `parse` does."""
        channel, text, block = segment.channel, segment.text, segment.block
        new_block = channel == "reasoning" and block != self._block and self._block is not None
        if channel == "reasoning":
            self._block = block
        return self._take(channel, BLOCK_BREAK + text if new_block else text)

    def _take(self, channel: Channel, text: str, *, last: bool = False) -> list[StepVerdict]:
        judge = self._channels.get(channel)
        if judge is None:
            judge = self._channels[channel] = self._monitor.channel(channel, self._trace.prompt)
        self._texts.setdefault(channel, []).append(text)
        steps = judge.cut(text, last=last)
        return judge.record(steps, self._rows(judge.ask(steps))) if steps else []

    def _rows(self, steps: list[StepInput]) -> Probabilities:
        return self._monitor.answers(steps)

    @property
    def channels(self) -> Mapping[Channel, ChannelJudge]:
        """What has been judged so far, channel by channel."""
        return self._channels

    @property
    def trace(self) -> Trace:
        """The trace as far as it has been written."""
        texts: dict[str, str | bool] = {c: "".join(parts) for c, parts in self._texts.items()}
        truncated = self._parser.truncated and not self._structured
        return self._trace.model_copy(update=texts | {"truncated": truncated})

    @property
    def flagged(self) -> bool:
        """True from the alarm on, in either channel."""
        return any(judge.tracker.alarm is not None for judge in self._channels.values())

    @property
    def risk(self) -> float | None:
        """The highest risk of a judged step so far; None while none was judged."""
        judged = [j.tracker.risk for j in self._channels.values() if j.tracker.peak is not None]
        return max(judged, default=None)

    @property
    def unjudged(self) -> int:
        """How many of the steps so far the classifier could not judge."""
        return sum(judge.unjudged for judge in self._channels.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
