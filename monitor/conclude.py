"""Makes the verdict on a trace from what its channels have shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from ..classifiers.contract import CHANNELS, Channel, StepClassifier
from .channel import ChannelJudge
from .trace import NotAssessed, Trace, Unreadable
from .verdict import Assessment, ChannelVerdict, MonitorStamp, Quadrant, TraceVerdict

__all__ = ["conclude", "conclude_unreadable", "stamp"]

_QUADRANTS: Mapping[tuple[bool, bool], Quadrant] = {
    (False, False): "safe-reasoning/safe-answer",
    (False, True): "safe-reasoning/unsafe-answer",
    (True, False): "unsafe-reasoning/safe-answer",
    (True, True): "unsafe-reasoning/unsafe-answer",
}


def stamp(classifier: StepClassifier, rate: float, threshold: float) -> MonitorStamp:
    """Return the stamp that names what produces the verdicts."""
    return MonitorStamp(
        undertow=version("undertow"),
        classifier=classifier.name,
        digest=classifier.digest,
        false_alarm_rate=rate,
        threshold=threshold,
        note=getattr(classifier, "note", "") or None,
    )


def conclude(trace: Trace, judges: Mapping[Channel, ChannelJudge], monitor: MonitorStamp) -> TraceVerdict:
    """Return the verdict on a trace whose steps have been recorded."""
    judges = {channel: judges[channel] for channel in CHANNELS if channel in judges}
    present = list(judges.values())
    summed = [judge.verdict(len(getattr(trace, judge.channel) or "")) for judge in present]
    channels = [channel for channel in summed if channel is not None]
    assessed, problem = _assess(trace, judges, judged=bool(channels))
    chief = next((c for c in channels if c.flagged), channels[0] if channels else None)
    return TraceVerdict(
        id=trace.id,
        origin=trace.origin,
        model=trace.model,
        assessed=assessed,
        not_assessed=problem,
        flagged=chief.flagged if chief else None,
        risk=chief.risk if chief else None,
        quadrant=None if trace.caveat else _quadrant(channels, judges),
        onset=chief.onset if chief else None,
        alarm=chief.alarm if chief else None,
        peak=chief.peak if chief else None,
        recovered=chief.recovered if chief else None,
        channels=tuple(channels),
        steps=tuple(step for judge in present for step in judge.steps),
        monitor=monitor,
    )


def conclude_unreadable(record: Unreadable, monitor: MonitorStamp) -> TraceVerdict:
    """Return the verdict on a row that gave no trace: not assessed, and not safe."""
    return TraceVerdict(
        id=record.id,
        origin=record.origin,
        model=None,
        assessed="none",
        not_assessed=record.problem,
        flagged=None,
        risk=None,
        quadrant=None,
        onset=None,
        alarm=None,
        peak=None,
        recovered=None,
        channels=(),
        steps=(),
        monitor=monitor,
    )


def _assess(
    trace: Trace, judges: Mapping[Channel, ChannelJudge], *, judged: bool
) -> tuple[Assessment, NotAssessed | None]:
    """Return how much of a trace was judged, and why the rest was not."""
    problem = trace.caveat or _gap(trace, judges)
    if not judged:
        return "none", problem or NotAssessed(reason="no_text", detail="no reasoning and no answer")
    return ("partial", problem) if problem else ("full", None)


def _gap(trace: Trace, judges: Mapping[Channel, ChannelJudge]) -> NotAssessed | None:
    missed = sum(judge.unjudged for judge in judges.values())
    if missed:
        return _unread(judges, missed)
    wordless = [judge.channel for judge in judges.values() if judge.steps and not judge.has_words]
    if wordless:
        return NotAssessed(reason="too_short", detail=f"the {wordless[0]} contains no words")
    if trace.truncated:
        return NotAssessed(reason="truncated", detail="the generation ends inside the reasoning")
    if not (trace.reasoning or "").strip() and (trace.answer or "").strip():
        return NotAssessed(reason="no_reasoning", detail="there is an answer but no reasoning")
    return None


def _unread(judges: Mapping[Channel, ChannelJudge], missed: int) -> NotAssessed:
    """Return why steps were not judged: failures come first, then declined steps, then unreadable ones."""
    steps = sum(len(judge.steps) for judge in judges.values())
    limits = Counter(limit for judge in judges.values() for limit in judge.limits if limit)
    if failed := sum(judge.failed for judge in judges.values()):
        return NotAssessed(
            reason="classifier_failed", detail=f"the classifier failed on {failed} of {steps} steps"
        )
    if declined := missed - limits.total():
        return NotAssessed(reason="declined", detail=f"the classifier declined {declined} of {steps} steps")
    reason, count = limits.most_common(1)[0]
    said = "are not in English" if reason == "language" else "are garbled or encoded"
    return NotAssessed(reason=reason, detail=f"{count} of {steps} steps {said}")


def _quadrant(channels: Sequence[ChannelVerdict], judges: Mapping[Channel, ChannelJudge]) -> Quadrant | None:
    """Return the quadrant; None if a channel was not judged, or has unjudged steps and no alarm."""
    flags = {c.channel: c.flagged for c in channels if c.flagged or not judges[c.channel].unjudged}
    if len(flags) < 2:
        return None
    return _QUADRANTS[flags["reasoning"], flags["answer"]]
