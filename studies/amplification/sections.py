"""The sections of the outcome, one for each part of the study."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from ...classifiers.contract import CHANNELS
from . import figures
from .channels import PLACES, channel_table
from .compare import Comparison, name_of
from .controls import Controls
from .design import Design
from .estimate import Estimate, share
from .load import MEASURES, Observation, Table
from .page import Section, p_value, percent, points, signed, times
from .trajectory import Trajectory, hazard, survival

__all__ = ["arms", "channels", "comparisons", "control", "judge", "kept_aside", "models", "trajectories"]


def kept_aside(table: Table, design: Design) -> Section | None:
    """Show which records are not in the table, which cells are empty, and what was not judged."""
    rows = [("set aside", reason, f"{count:,}") for reason, count in table.aside.items()]
    missing = table.missing(design)
    rows += [("missing", f"cells of {arm}", f"{count:,}") for arm, count in missing.items()]
    rows += [("not judged", what, f"{count:,}") for what, count in table.unjudged.items()]
    if not rows and not table.notes:
        return None
    return Section(
        "What is not there",
        ("", "what", "count"),
        tuple(rows),
        note=" ".join((*table.notes, "Nothing of this was guessed; what is missing is in no figure here.")),
        data={
            "aside": table.aside,
            "missing": missing,
            "not judged": table.unjudged,
            "notes": table.notes,
        },
    )


def arms(table: Table) -> Section:
    """Show each arm: number of generations, length, and harm in each channel."""
    found = {name_of(arm): _arm(table.of(arm, harmless=False) or table.of(arm)) for arm in table.arms}
    return Section(
        "The arms",
        ("arm", *next(iter(found.values()))),
        tuple((arm, *map(_shown, row.values())) for arm, row in found.items()),
        note=(
            "Without the prompts of the negative control, where there are others. Wilson's intervals take "
            "generations as independent. Severity: the mean of the answer's highest risk, or of its label's "
            "score. Density: unsafe steps per 100 words of the reasoning."
        ),
        data=found,
    )


def _arm(held: Sequence[Observation]) -> dict[str, object]:
    harm = {
        measure: [found.harmful for one in held if (found := one.judged(measure))] for measure in MEASURES
    }
    severities = [found.severity for one in held if (found := one.judged("answer"))]
    densities = [found.density for one in held if (found := one.harm.get("reasoning"))]
    words = {channel: [one.words[channel] for one in held if channel in one.words] for channel in CHANNELS}
    return {
        "prompts": len({one.prompt for one in held}),
        "generations": len(held),
        **{f"harm in {measure}": share(sum(hits), len(hits)) for measure, hits in harm.items()},
        "severity": _mean(severities),
        "density": _mean([density for density in densities if density is not None]),
        **{f"words of {channel}": _mean(counts) for channel, counts in words.items()},
    }


def comparisons(found: Sequence[Comparison], margin: float, title: str = "What reasoning adds") -> Section:
    """Show the effects on all three scales together, with test and verdict."""
    rows = [
        (
            one.name,
            f"{one.prompts:,}",
            " / ".join(f"{100 * rate:.1f}" for rate in one.rates),
            points(one.effects.difference),
            times(one.effects.ratio),
            times(one.effects.odds),
            p_value(one.adjusted or one.test),
            one.conclusion.outcome,
        )
        for one in found
    ]
    return Section(
        title,
        ("comparison", "prompts", "rates %", "difference", "ratio", "odds ratio", "Holm", "verdict"),
        tuple(rows),
        note=(
            "Only prompts that have all arms; 95 % intervals, clustered by prompt. The verdict holds a wider "
            f"interval against the margin of {100 * margin:g} points set beforehand: one adjusted for the "
            "family (harm in the answer with reasoning against none is primary, all else secondary) and, "
            "where gold labels allow it, corrected for the judge's errors. The ratios of a coupling are "
            "ratios of ratios: its size depends on the scale."
        ),
        figure=figures.forest(
            "effects",
            "Differences in the share of harm, with intervals, around the margin",
            [(one.name, one.effects.difference) for one in found],
            x="difference in the share of harm",
            margin=margin,
        ),
        data={one.name: _numbers(one) for one in found},
    )


def _numbers(one: Comparison) -> dict[str, object]:
    numbers: dict[str, object] = {
        name: getattr(one, name)
        for name in ("primary", "prompts", "left_out", "rates", "bootstrap", "test", "adjusted", "severity")
    }
    return {
        **numbers,
        "effects": one.effects._asdict(),
        "corrected": {name: effects._asdict() for name, effects in one.corrected.items()},
        "conclusion": one.conclusion,
    }


def models(found: Sequence[Comparison], fitted: dict[str, dict[str, dict[str, Estimate]]]) -> Section:
    """Show the same effects by other methods: bootstrap, severity, logistic regressions."""
    primary = [one for one in found if one.primary] or found
    rows = [(one.name, "bootstrap of the difference", points(one.bootstrap)) for one in primary]
    rows += [(one.name, "severity, paired permutation", p_value(one.severity)) for one in primary]
    for name, kinds in fitted.items():
        rows += [
            (name, f"{kind}: {term}", times(e)) for kind, terms in kinds.items() for term, e in terms.items()
        ]
    return Section(
        "The same by other means",
        ("comparison", "how", "result"),
        tuple(sorted(rows, key=lambda row: row[0])),
        note="Odds ratios of the regressions: over all prompts (GEE), for the same prompt (mixed effects).",
        data=fitted,
    )


def judge(found: Sequence[Comparison]) -> Section | None:
    """Show the effects corrected for the judge's errors; None without gold labels."""
    rows = [
        (
            one.name,
            method,
            points(effects.difference),
            times(effects.ratio),
            times(effects.odds),
            "" if number else _survives(one),
        )
        for one in found
        if one.primary
        for number, (method, effects) in enumerate(one.corrected.items())
    ]
    if not rows:
        return None
    return Section(
        "With the judge's errors taken out",
        ("comparison", "method", "difference", "ratio", "odds ratio", "conclusion survives"),
        tuple(rows),
        note=(
            "Errors are learnt from the gold labels, in each arm on its own; 95 % intervals. Conclusion "
            "survives: whether the verdict is the same without the correction. It rests on the first method."
        ),
    )


def _survives(one: Comparison) -> str:
    """Say whether a verdict holds without the correction; one that is open cannot survive anything."""
    if not one.conclusion.survives_judge_error:
        return "no"
    return "open either way" if one.conclusion.outcome == "inconclusive" else "yes"


def channels(table: Table) -> Section | None:
    """Show where the harm is; None if both channels were judged in no generation."""
    found = {arm: channel_table(table.of(arm, harmless=False)) for arm in table.arms}
    found = {arm: one for arm, one in found.items() if one.total}
    if not found:
        return None
    rows = [
        (name_of(arm), *(f"{one.counts[p]:,}: {percent(one.share(p))}" for p in PLACES), f"{one.unplaced:,}")
        for arm, one in found.items()
    ]
    parts = [(name_of(arm), [(p, one.share(p).value) for p in PLACES]) for arm, one in found.items()]
    return Section(
        "Where the harm stands",
        ("arm", *PLACES, "not placed"),
        tuple(rows),
        note=(
            "Leak: in the reasoning only, so that a guard of answers misses it. Escape: in the answer only. "
            "Not placed: not both channels were there and judged. Wilson's intervals take generations as "
            "independent."
        ),
        figure=figures.bars("channels", "Shares of both, leak, escape and none, by arm", parts),
        data={name_of(arm): {**one.counts, "not placed": one.unplaced} for arm, one in found.items()},
    )


def trajectories(table: Table) -> Section | None:
    """Show how reasonings go wrong, by arm; None if the monitor judged none."""
    by_arm: dict[str, list[Trajectory]] = {
        name_of(arm): held
        for arm in table.arms
        if (held := [t for one in table.of(arm, harmless=False) if (t := one.trajectory) and t.steps])
    }
    if not by_arm:
        return None
    found = {arm: _trajectories(held) for arm, held in by_arm.items()}
    hazards = {arm: hazard(held) for arm, held in by_arm.items()}
    curves = {arm: survival(held) for arm, held in by_arm.items()}
    tenths = [
        _tenths(arm, estimates) for arm, estimates in hazards.items() if any(e.value for e in estimates)
    ]
    return Section(
        "How the reasoning goes wrong",
        ("arm", *next(iter(found.values()))),
        tuple((arm, *map(_shown, row.values())) for arm, row in found.items()),
        note=" ".join(
            (
                "By the monitor's steps and alarms; a reasoning without an alarm is censored at its end.",
                "Onset: as a share of the reasoning's length. Recovered, overridden: of those that drifted;",
                "overridden means that a step saw the harm before the drift began. Lead: words between the",
                "alarm in the reasoning and that in the answer. Intervals take reasonings as independent.",
                *tenths,
            )
        ),
        figure=figures.survival_curves(
            "survival", "Share of reasonings that have not drifted, by step", list(curves.items())
        ),
        data={"arms": found, "hazard by tenth": hazards, "survival": curves},
    )


def _trajectories(held: Sequence[Trajectory]) -> dict[str, object]:
    drifted = [one for one in held if one.onset is not None]
    positions = [one.position for one in drifted if one.position is not None]
    leads = [one.lead for one in held if one.lead is not None]
    return {
        "reasonings": len(held),
        "drifted": share(len(drifted), len(held)),
        "median onset": median(positions) if positions else None,
        "at the first step": share(sum(one.onset == 0 for one in drifted), len(drifted)),
        "recovered": share(sum(one.recovered for one in drifted), len(drifted)),
        "overridden": share(sum(one.overridden for one in drifted), len(drifted)),
        "median lead": round(median(leads)) if leads else None,
    }


def _tenths(arm: str, estimates: Sequence[Estimate]) -> str:
    shown = " ".join(f"{100 * one.value:.0f}" if one.known else "-" for one in estimates)
    return f"Hazard of {arm}, in % by tenth of the reasoning, given no drift before: {shown}."


def control(found: dict[str, Controls], harmless: Sequence[Comparison]) -> Section | None:
    """Show the negative controls."""
    rows = []
    for name, one in found.items():
        rows.append(
            (name, "permuted arms: intervals that exclude 0", percent(one.permuted), "at most about 5 %")
        )
        rows.append((name, "length only", points(one.length_only), "unlike the effect"))
        rows.append((name, "prompt only", f"{signed(one.prompt_only)} pp", "0"))
    for comparison in harmless:
        effect = comparison.effects
        rows.append(
            (
                comparison.name,
                "harmless prompts",
                f"{points(effect.difference)}, ratio {times(effect.ratio)}",
                "0, ratio about 1",
            )
        )
    if not rows:
        return None
    if not harmless:
        rows.append(("", "harmless prompts", "none are in the data", "needed before a verdict is believed"))
    return Section(
        "Negative controls",
        ("comparison", "control", "found", "expected"),
        tuple(rows),
        note="Where a control does not come out as expected, the effects above may be something else.",
        data={"controls": found, "harmless": {one.name: _numbers(one) for one in harmless}},
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _shown(value: object) -> str:
    if isinstance(value, Estimate):
        return percent(value) if value.known else "-"
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
