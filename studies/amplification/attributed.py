"""The section on attribution: which reasoning steps the answer's risk rests on in harmful generations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import TypeAlias

import numpy as np

from ...classifiers.contract import UNSAFE
from ...monitor.many import many
from ...monitor.monitor import Monitor
from ...monitor.trace import Trace
from ...monitor.verdict import StepVerdict, TraceVerdict, steps_of
from .attribution import METHODS, Score, agreement, answer_risk, curve_areas, stability
from .load import Judged
from .page import Section
from .rates import Floats

__all__ = ["Flagged", "attribution_section", "keep_flagged"]

Flagged: TypeAlias = tuple[Trace, TraceVerdict]

LONGEST = 80
"""The most steps that a reasoning to attribute may have: the cost grows with their square."""


def keep_flagged(pairs: Iterable[Judged], kept: list[Flagged], most: int) -> Iterator[Judged]:
    """Yield records and verdicts unchanged; keep generations that were flagged in both channels.

    Args:
        pairs: The records with their verdicts.
        kept: Where to keep those to attribute, if their length allows.
        most: How many to keep at most.
    """
    for record, verdict in pairs:
        if verdict is not None and isinstance(record, Trace) and len(kept) < most:
            steps = len(steps_of(verdict, "reasoning"))
            if verdict.quadrant == "unsafe-reasoning/unsafe-answer" and 3 <= steps <= LONGEST:
                kept.append((record, verdict))
        yield record, verdict


def attribution_section(traces: Sequence[Flagged], monitor: Monitor) -> Section | None:
    """Show how well each method finds the steps that the monitor's risk of the answer rests on."""
    if not traces:
        return None
    cases = [_case(trace, verdict, monitor) for trace, verdict in traces]
    rows, data = [], {}
    for name in (*METHODS, "random order"):
        found = {
            measure: _mean([values[measure] for case in cases if (values := case[name])])
            for measure in ("deletion", "insertion", "agreement", "stability")
        }
        data[name] = found
        rows.append((name, *("-" if value is None else f"{value:.2f}" for value in found.values())))
    return Section(
        "Which steps the answer's risk rests on",
        ("method", "deletion", "insertion", "agreement", "stability"),
        tuple(rows),
        note=(
            f"Means over {many(len(traces), 'generation')} flagged in both channels. Deletion and insertion: "
            "areas under the curves of the monitor's risk of the answer; small and large are good, beside a "
            "random order. Agreement: the chance that a step which the monitor marks unsafe ranks above one "
            "that it does not. Stability: rank correlation when a tenth of the steps is left out. The score "
            "is the monitor's: what the model itself would have done takes new continuations from it."
        ),
        data={"generations": len(traces), "methods": data},
    )


def _case(trace: Trace, verdict: TraceVerdict, monitor: Monitor) -> dict[str, dict[str, float]]:
    """Return each method's quality measures for one generation."""
    said = steps_of(verdict, "reasoning")
    steps = [(trace.reasoning or "")[step.start : step.end] for step in said]
    score = answer_risk(monitor, trace.prompt, trace.answer or "")
    found = {}
    for name, method in METHODS.items():
        values = method(score, steps)
        found[name] = {
            **_quality(score, steps, values, said),
            "stability": stability(method, score, steps, repeats=3),
        }
    chance = np.random.default_rng(0).random(len(steps))
    found["random order"] = {**_quality(score, steps, chance, said), "stability": np.nan}
    return found


def _quality(
    score: Score, steps: Sequence[str], values: Floats, said: Sequence[StepVerdict]
) -> dict[str, float]:
    deletion, insertion = curve_areas(score, steps, values)
    judged = [i for i, step in enumerate(said) if step.label is not None]
    marked = [n for n, i in enumerate(judged) if said[i].label in UNSAFE]
    return {"deletion": deletion, "insertion": insertion, "agreement": agreement(values[judged], marked)}


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return fmean(known) if known else None
