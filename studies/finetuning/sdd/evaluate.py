"""Evaluate models after SDD: harm, as each judge sees it, and capability, on separate axes.

The share of flagged responses hides what lies below the threshold, so the mean risk is reported beside
it. Responses that could not be judged are counted, and are in no share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....classifiers.contract import CHANNELS, Channel
from ....classifiers.hub import file_of
from ....errors import UsageError, WeightsError
from ....monitor.audit.plain import plain
from ....monitor.many import many
from ....monitor.monitor import Monitor
from ....monitor.trace import Trace
from ....monitor.verdict import TraceVerdict, channel_of, steps_of
from ...amplification.effects import AMPLIFICATION, contrast
from ...amplification.estimate import Estimate, share, unknown
from ...amplification.page import Page, Section, number, percent, points
from ...amplification.paired import bootstrap
from ...amplification.rates import smoothed
from .capability import Score
from .responses import respond, write_traces
from .sources import Text

__all__ = ["TITLE", "Judged", "evaluate"]

TITLE = "Self-Degraded Defense: harm and capability"

Measure = Callable[[str], Sequence[Score]]
"""Maps a model to its scores."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One judge's verdicts on one model's responses, prompt by prompt."""

    model: str
    judge: str
    verdicts: tuple[TraceVerdict, ...]

    @property
    def flagged(self) -> list[bool | None]:
        """Whether each response was flagged; None if that is unknown."""
        return [_flagged(one) for one in self.verdicts]

    def share(self, channel: Channel | None = None) -> Estimate:
        """Return the share of flagged responses, in a channel or in either."""
        found = self.flagged if channel is None else [_flagged_in(one, channel) for one in self.verdicts]
        known = [one for one in found if one is not None]
        return share(sum(known), len(known))

    def risk(self) -> Estimate:
        """Return the mean over responses of the highest risk."""
        pairs = zip(self.verdicts, self.flagged, strict=True)
        known = [one.highest_risk for one, flagged in pairs if flagged is not None]
        return _mean([risk for risk in known if risk is not None])


def evaluate(
    models: Sequence[str],
    prompts: Sequence[Text],
    judges: Mapping[str, Monitor],
    out: Path,
    *,
    tokens: int = 512,
    batch: int = 8,
    measure: Measure | None = None,
) -> Page:
    """Ask each model, have the responses judged, and measure what the models can still do.

    The responses are written to `out`, one file per model, as transcripts that `undertow audit` reads.

    Args:
        models: Folders, or `org/name@revision`; the first is compared with each of the others.
        prompts: The prompts to ask.
        judges: Monitors by name, each with the classifier or guard that judges.
        out: The folder for the responses.
        tokens: The maximum number of tokens of a response.
        batch: The number of prompts at once.
        measure: The function that scores a model; without it, only harm is evaluated.

    Raises:
        UsageError: There is no model or no judge.
        WeightsError: One of the models does not exist; this is checked before any is asked.
    """
    if not models or not judges:
        raise UsageError("an evaluation needs a model, and a classifier or guard that judges")
    for model in models:
        _must_be_there(model)
    out.mkdir(parents=True, exist_ok=True)
    found: list[Judged] = []
    scores: list[tuple[str, Score]] = []
    for place, model in enumerate(models):
        traces = respond(model, prompts, tokens=tokens, batch=batch)
        write_traces(traces, out / f"responses-{place}.jsonl")
        found += [_judge(model, name, monitor, traces) for name, monitor in judges.items()]
        scores += [(model, score) for score in (measure(model) if measure else ())]
    sections = [_harm(found), *_differences(found), *([_capability(scores)] if scores else [])]
    asked = f"{many(len(models), 'model')}, {many(len(prompts), 'prompt')}"
    lead = f"{asked}, judged by {', '.join(judges)}."
    facts = {"models": list(models), "prompts": len(prompts), "tokens": tokens}
    return Page(TITLE, lead, tuple(sections), facts)


def _must_be_there(model: str) -> None:
    """Check that a model exists, before hours are spent on the models named before it."""
    place, _, revision = model.partition("@")
    try:
        config = file_of(place, "config.json", revision or None)
    except ImportError:
        return  # loading the model will say what to install
    except (OSError, ValueError) as error:
        raise WeightsError(f"there is no model {place!r}: {plain(str(error), 300)}") from error
    if not config.is_file():
        raise WeightsError(f"{place!r} is no model: it has no config.json")


def _judge(model: str, name: str, monitor: Monitor, traces: Sequence[Trace]) -> Judged:
    return Judged(model, name, tuple(monitor.judge(traces)))


def _flagged(verdict: TraceVerdict) -> bool | None:
    """Return whether a response was flagged; None if that is unknown.

    Missing reasoning is no gap, and neither is what a model would have written after its last token: if
    a response that was cut off counted only when flagged, the share would be too high.
    """
    if verdict.flagged:
        return True
    gap = verdict.not_assessed
    whole = gap is None or (gap.reason in ("no_reasoning", "truncated") and bool(verdict.steps))
    return False if whole and all(step.label is not None for step in verdict.steps) else None


def _flagged_in(verdict: TraceVerdict, channel: Channel) -> bool | None:
    """Return whether a channel was flagged; None if it is absent, or has a gap and no alarm."""
    found = channel_of(verdict, channel)
    if found is None or found.flagged:
        return None if found is None else True
    return None if any(step.label is None for step in steps_of(verdict, channel)) else False


def _mean(values: Sequence[float]) -> Estimate:
    if len(values) < 2:
        return unknown("fewer than two", len(values))
    return bootstrap(np.array(values)[:, None], (1,))


def _harm(found: Sequence[Judged]) -> Section:
    rows = []
    for one in found:
        shares = [percent(one.share(channel)) for channel in (None, *CHANNELS)]
        missing = sum(flagged is None for flagged in one.flagged)
        rows.append((plain(one.model), one.judge, *shares, number(one.risk()), str(missing)))
    return Section(
        "Harm",
        ("model", "judge", "flagged", "in the reasoning", "in the answer", "mean risk", "not judged"),
        tuple(rows),
        text="Responses that raised the alarm, and the mean of each response's highest risk.",
        note="Shares with Wilson intervals, of what was judged; the mean risk with a bootstrap over prompts.",
        data={
            "rows": [
                {
                    "model": one.model,
                    "judge": one.judge,
                    "flagged": one.share(),
                    "reasoning": one.share("reasoning"),
                    "answer": one.share("answer"),
                    "risk": one.risk(),
                    "not_judged": sum(flagged is None for flagged in one.flagged),
                    "monitor": one.verdicts[0].monitor if one.verdicts else None,
                }
                for one in found
            ]
        },
    )


def _differences(found: Sequence[Judged]) -> list[Section]:
    """Compare each model with the first, prompt by prompt."""
    first = {one.judge: one for one in found if one.model == found[0].model}
    pairs = [(first[one.judge], one) for one in found if one.model != found[0].model]
    if not pairs:
        return []
    made = [(after, _difference(before, after)) for before, after in pairs]
    return [
        Section(
            f"Against {plain(found[0].model)}",
            ("model", "judge", "flagged"),
            tuple((plain(one.model), one.judge, points(estimate)) for one, estimate in made),
            note="The same prompts, judged under both; 95 % intervals, paired by prompt, t.",
            data={
                "rows": [
                    {"model": one.model, "judge": one.judge, "flagged": estimate} for one, estimate in made
                ]
            },
        )
    ]


def _difference(before: Judged, after: Judged) -> Estimate:
    both = [
        (float(new), float(old))
        for old, new in zip(before.flagged, after.flagged, strict=True)
        if old is not None and new is not None
    ]
    if len(both) < 2:
        return unknown("fewer than two", len(both))
    return contrast(smoothed(both), AMPLIFICATION, "difference")


def _capability(scores: Sequence[tuple[str, Score]]) -> Section:
    return Section(
        "Capability",
        ("model", "task", "metric", "value"),
        tuple((plain(model), score.task, score.metric, number(score.value)) for model, score in scores),
        text="Tasks of lm-evaluation-harness.",
        note="Intervals from the harness's standard error.",
        data={"rows": [{"model": model, "score": score} for model, score in scores]},
    )
