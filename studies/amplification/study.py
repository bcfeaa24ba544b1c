"""The whole study: from the table and the prefixes to the outcome."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import UsageError
from ...monitor.monitor import Monitor
from . import sections
from .attributed import Flagged, attribution_section
from .compare import Comparison, compare_all, name_of
from .controls import controls
from .design import STATES, Design, Mode
from .dose import PrefixTrace
from .dose_sections import dose_sections
from .estimate import Estimate
from .load import Table
from .mixed import Answers, population_averaged, within_prompt
from .page import Page, Section, points

__all__ = ["TITLE", "regressions", "study"]

TITLE = "Does a chain of thought amplify risk?"

FEWEST = 10
"""With fewer prompts than this, no regression is fitted."""

_ON_OFF: tuple[Mode, ...] = ("on", "zero")


def study(
    table: Table | None,
    design: Design,
    prefixes: Sequence[PrefixTrace] = (),
    monitor: Monitor | None = None,
    flagged: Sequence[Flagged] = (),
    *,
    quick: bool = False,
) -> Page:
    """Run the study on the given data.

    Args:
        table: The generations in their cells.
        design: The design, set down beforehand.
        prefixes: Traces with forced answers.
        monitor: The monitor; without one, no risk is compared with the forced answers.
        flagged: Generations whose answer's risk is attributed to their steps.
        quick: Leave out the mixed-effects models, which take seconds to minutes.

    Raises:
        UsageError: There are no data.
    """
    if (table is None or not table.observations) and not prefixes:
        aside = {} if table is None else table.aside
        why = "; ".join(f"{reason} ({n})" for reason, n in aside.items())
        way_out = (
            "a design (--design FILE.yaml) names the fields that hold a record's mode and state, or assumes "
            "them for all records: `assume: {mode: on, state: base}`"
        )
        said = f"{why}; {way_out}" if why else "there is no record"
        raise UsageError(f"no record has a cell of the design: {said}")
    made: list[Section | None] = []
    found: list[Comparison] = []
    lead = []
    if table is not None and table.observations:
        found = compare_all(table)
        lead.append(_lead(table, found))
        made += _table_sections(table, design, found, quick)
    elif table is not None:
        lead.append("No record of the transcripts has a cell of the design.")
        made.append(sections.kept_aside(table, design))
    if prefixes:
        dose = dose_sections(prefixes, monitor)
        lead.append(dose[0].text)
        made += dose
    if monitor is not None:
        made.append(attribution_section(flagged, monitor))
    facts = {
        "outcomes": {one.name: one.conclusion.outcome for one in found},
        "margin": design.margin,
        "design": design,
        "monitor": None if monitor is None else _stamp(monitor),
    }
    return Page(TITLE, " ".join(lead), tuple(one for one in made if one is not None), facts)


def _stamp(monitor: Monitor) -> dict[str, object]:
    judge = monitor.classifier
    return {
        "classifier": judge.name,
        "digest": judge.digest,
        "false_alarm_rate": monitor.false_alarm_rate,
        "threshold": monitor.threshold,
    }


def _table_sections(
    table: Table, design: Design, found: Sequence[Comparison], quick: bool
) -> list[Section | None]:
    harmless = [one for one in compare_all(table, harmless=True) if one.primary]
    ran = {one.name: controls(table, one) for one in found if one.primary}
    return [
        sections.arms(table),
        sections.comparisons(found, table.margin) if found else None,
        sections.models(found, {} if quick else regressions(table)) if found else None,
        sections.judge(found),
        sections.control(ran, harmless),
        sections.channels(table),
        sections.trajectories(table),
        sections.kept_aside(table, design),
    ]


def _lead(table: Table, found: Sequence[Comparison]) -> str:
    """Return the outcome of the primary comparisons in words: the answer, thinking on against none."""
    primary = [one for one in found if one.primary]
    if not primary:
        arms = "; ".join(map(name_of, table.arms))
        return (
            "Inconclusive: no two prompts have a judged answer both with reasoning and without, by the same "
            f"weights. These data cannot say whether reasoning amplifies harm; their arms are: {arms}."
        )
    said = [
        f"{one.conclusion.claim}: {one.conclusion.outcome} ({points(one.conclusion.deciding)})."
        for one in primary
    ]
    level = 100 * primary[0].conclusion.estimate.level
    corrected = any(one.conclusion.corrected for one in primary)
    how = ", corrected for the judge's errors where gold labels allow it" if corrected else ""
    said.append(f"Intervals of {level:.3g} %{how}.")
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def regressions(table: Table) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Fit the logistic regressions of harm in the answer: per state, and with the attack if there is one.

    As in the comparisons, only prompts that have every arm count.
    """
    made = {}
    for states in (*((state,) for state in STATES), STATES):
        arms = [(mode, state) for state in states for mode in _ON_OFF]
        held = [
            (one, harm.harmful)
            for arm in arms
            for one in table.of(arm, harmless=False)
            if (harm := one.judged("answer"))
        ]
        whole = set.intersection(*({one.prompt for one, _ in held if one.arm == arm} for arm in arms))
        if len(whole) < FEWEST:
            continue
        held = [(one, harmful) for one, harmful in held if one.prompt in whole]
        answers = Answers.of(
            [float(harmful) for _, harmful in held],
            [float(one.mode == "on") for one, _ in held],
            [one.prompt for one, _ in held],
            [float(one.state == "fine-tuned") for one, _ in held] if len(states) > 1 else None,
            [one.seed for one, _ in held],
        )
        name = f"answer, {' and '.join(states)}: on - zero"
        made[name] = {"GEE": population_averaged(answers), "mixed effects": within_prompt(answers)}
    return made
