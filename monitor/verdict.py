"""The verdict on a trace, with offsets that point back to its text."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from ..classifiers.contract import Channel, Label
from .trace import Frozen, NotAssessed, Origin

__all__ = [
    "Assessment",
    "ChannelVerdict",
    "LabelProbabilities",
    "Mark",
    "MonitorStamp",
    "Peak",
    "Quadrant",
    "StepVerdict",
    "TraceVerdict",
    "channel_of",
    "steps_of",
    "verdict_schema",
]

SCHEMA: Literal["undertow.verdict/1"] = "undertow.verdict/1"

Assessment = Literal["full", "partial", "none"]

Quadrant = Literal[
    "safe-reasoning/safe-answer",
    "safe-reasoning/unsafe-answer",
    "unsafe-reasoning/safe-answer",
    "unsafe-reasoning/unsafe-answer",
]


class Mark(Frozen):
    """A step at which the drift began or was detected."""

    channel: Channel = "reasoning"
    step: int = Field(ge=0)
    """The index of the step within its channel, counted from 0."""
    start: int = Field(ge=0)
    """Where the step begins in the text of its channel, in characters."""
    fraction: float = Field(ge=0, le=1)
    """`start` divided by the length of the channel's text."""


class Peak(Frozen):
    """The step with the highest risk."""

    channel: Channel = "reasoning"
    step: int = Field(ge=0)
    risk: float = Field(ge=0, le=1)


class LabelProbabilities(Frozen):
    """The probability of each label for a step, according to the classifier; they add up to 1."""

    neutral: float
    aware: float
    drift: float
    harm: float


class StepVerdict(Frozen):
    """The verdict on one step. `label`, `risk` and `probabilities` are null if it was not judged."""

    index: int = Field(ge=0)
    """The index of the step within its channel, counted from 0."""
    channel: Channel
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    label: Label | None
    risk: float | None
    """P(drift) + P(harm)."""
    probabilities: LabelProbabilities | None

    @model_validator(mode="after")
    def _all_or_nothing(self) -> Self:
        if len({self.label is None, self.risk is None, self.probabilities is None}) != 1:
            raise ValueError("label, risk and probabilities must be all set or all null")
        return self


class ChannelVerdict(Frozen):
    """The verdict on one channel: the reasoning or the answer."""

    channel: Channel
    flagged: bool
    risk: float
    """The highest risk of a judged step."""
    onset: Mark | None
    """Where the drift began, found in retrospect from the alarm; null without an alarm."""
    alarm: Mark | None
    """Where the drift was detected: the step at which a live monitor acts; null without an alarm."""
    peak: Peak
    recovered: bool
    """True if an alarm was raised and the channel ended in safe steps."""


class MonitorStamp(Frozen):
    """The monitor that produced a verdict: its version, classifier and threshold."""

    undertow: str
    classifier: str
    digest: str
    false_alarm_rate: float
    """The requested rate: on average, at most this share of safe traces raises an alarm."""
    threshold: float
    """The threshold at the first step, in log-odds of risk; monitor/drift.py defines how it rises."""
    note: str | None = None
    """What readers of the verdict must know about the classifier, such as which labels it never gives."""


class TraceVerdict(Frozen):
    """The verdict on one trace, in the format `undertow.verdict/1`.

    `onset`, `alarm`, `peak`, `risk` and `recovered` are those of the first flagged channel or, if no
    channel is flagged, of the first judged one. `channels` has the values of each channel.
    """

    model_config = ConfigDict(populate_by_name=True)

    schema_: Literal["undertow.verdict/1"] = Field(default=SCHEMA, alias="schema")
    id: str
    origin: Origin
    model: str | None
    assessed: Assessment
    not_assessed: NotAssessed | None
    flagged: bool | None
    """Whether an alarm was raised; null if nothing was judged, which does not mean safe."""
    risk: float | None
    quadrant: Quadrant | None
    """Null if a channel was not judged, or has unjudged steps and no alarm, or if the trace has a caveat."""
    onset: Mark | None
    alarm: Mark | None
    peak: Peak | None
    recovered: bool | None
    channels: tuple[ChannelVerdict, ...]
    steps: tuple[StepVerdict, ...]
    """The steps of the reasoning, then those of the answer."""
    monitor: MonitorStamp

    @property
    def highest_risk(self) -> float | None:
        """The highest risk in any channel, while `risk` is that of one; None if nothing was judged."""
        return max((one.risk for one in self.channels), default=None)

    @model_validator(mode="after")
    def _cannot_look_safe(self) -> Self:
        if (self.assessed == "full") != (self.not_assessed is None):
            raise ValueError("not_assessed must be set exactly if assessed is not 'full'")
        if (self.assessed == "none") != (self.flagged is None):
            raise ValueError("flagged must be null exactly if assessed is 'none'")
        return self


def steps_of(verdict: TraceVerdict, channel: Channel) -> list[StepVerdict]:
    """Return the steps of one channel, in order."""
    return [step for step in verdict.steps if step.channel == channel]


def channel_of(verdict: TraceVerdict, channel: Channel) -> ChannelVerdict | None:
    """Return the verdict on one channel; None if it was not judged."""
    return next((found for found in verdict.channels if found.channel == channel), None)


def verdict_schema() -> dict[str, Any]:
    """Return the JSON Schema of a verdict, as in docs/verdict.schema.json."""
    return TraceVerdict.model_json_schema(by_alias=True, mode="serialization")


if __name__ == "__main__":
    print(json.dumps(verdict_schema(), indent=2))
