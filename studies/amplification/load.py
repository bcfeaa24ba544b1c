"""Turn records and verdicts into a tidy table: one observation per generation, each in its cell.

Nothing is guessed. A record whose arm no field names, or whose harm was not judged, is set
aside with the reason; a cell of the design that no record fills is counted as missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from math import isnan
from pathlib import PurePath
from typing import Any, Literal, TypeAlias, cast, get_args

from ...classifiers.contract import CHANNELS, UNSAFE, Channel
from ...monitor.audit.plain import plain
from ...monitor.trace import Trace, Unreadable
from ...monitor.verdict import TraceVerdict, channel_of, steps_of
from .design import MODES, STATES, Assumed, Design, Label, Mode, State, same, word
from .trajectory import Trajectory, trajectory

__all__ = [
    "MEASURES",
    "Arm",
    "Harm",
    "Judged",
    "Measure",
    "Observation",
    "Table",
    "load",
]

Judged: TypeAlias = tuple[Trace | Unreadable, TraceVerdict | None]

Arm: TypeAlias = tuple[Mode, State]

Measure = Literal["reasoning", "answer", "either"]
"""A channel, or `either`: harm in the answer or, if there is any, in the reasoning."""

MEASURES: tuple[Measure, ...] = get_args(Measure)

_HAS, _IS_OF = "has the field", "is from a file"


@dataclass(frozen=True, slots=True)
class Harm:
    """The harm found in one channel."""

    harmful: bool
    severity: float
    """The highest risk of a step, or the label's score, in [0, 1] if its range is known."""
    density: float | None = None
    """Unsafe steps per 100 words; None if a label was used instead of steps."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One generation in its cell."""

    id: str
    prompt: str
    """The prompt's id, by which the arms are matched."""
    mode: Mode
    state: State
    seed: str
    sample: str
    harm: Mapping[Channel, Harm]
    """The harm by channel; a channel that is absent or was not judged is missing."""
    gold: Mapping[Channel, Harm]
    words: Mapping[Channel, int]
    """The number of words by channel; a channel without text is missing."""
    harmless: bool
    """Whether the prompt belongs to the negative control."""
    trajectory: Trajectory | None

    def judged(self, measure: Measure) -> Harm | None:
        """Return the harm found, None if it was not judged: absent reasoning is not safe reasoning."""
        if measure != "either":
            return self.harm.get(measure)
        found = [self.harm.get(channel) for channel in self.words]
        if not found or None in found:
            return None
        return max((harm for harm in found if harm), key=lambda harm: (harm.harmful, harm.severity))

    @property
    def arm(self) -> Arm:
        """The observation's arm: mode and state."""
        return self.mode, self.state

    @property
    def unit(self) -> tuple[str, str, str]:
        """The key by which observations are matched across arms: prompt, seed and sample."""
        return self.prompt, self.seed, self.sample


@dataclass(frozen=True, slots=True)
class Table:
    """The observations, and the number of records set aside."""

    observations: tuple[Observation, ...]
    aside: Mapping[str, int]
    """The number of records that are not in the table, by reason."""
    margin: float = 0.05
    """The smallest difference that would matter, from the design."""
    notes: tuple[str, ...] = ()

    def of(self, arm: Arm, *, harmless: bool | None = None) -> list[Observation]:
        """Return the observations of one arm."""
        return [one for one in self.observations if one.arm == arm and harmless in (None, one.harmless)]

    @property
    def arms(self) -> list[Arm]:
        """The arms that have an observation, in the order of the design's names."""
        held = {one.arm for one in self.observations}
        return [(mode, state) for state in STATES for mode in MODES if (mode, state) in held]

    @property
    def unjudged(self) -> dict[str, int]:
        """The number of generations in each arm without a judged answer, or reasoning if others' are judged.

        An answer that was never reached, because the reasoning was cut off, is one of them.
        """
        found = {}
        for arm in self.arms:
            held, name = self.of(arm), f"{arm[1]}, {arm[0]}"
            found[f"answers of {name}"] = sum("answer" not in one.harm for one in held)
            if any("reasoning" in one.harm for one in held):
                gaps = ("reasoning" in one.words and "reasoning" not in one.harm for one in held)
                found[f"reasonings of {name}"] = sum(gaps)
        return {what: count for what, count in found.items() if count}

    def missing(self, design: Design) -> dict[str, int]:
        """Return the number of the design's cells without an observation, by arm.

        A cell is a prompt, seed and sample that some arm has.
        """
        units = {one.unit for one in self.observations}
        wished = [(mode, state) for state in design.cells.states for mode in design.cells.modes]
        empty = {arm: len(units - {one.unit for one in self.of(arm)}) for arm in wished}
        return {f"{state}, {mode}": count for (mode, state), count in empty.items() if count}


def load(pairs: Iterable[Judged], design: Design) -> Table:
    """Assign records to their cells.

    Args:
        pairs: The records, each with its verdict, or None if it was not judged.
        design: The design, which names the fields.
    """
    observations: list[Observation] = []
    aside: Counter[str] = Counter()
    arrived: Counter[Hashable] = Counter()
    unseen = _names(design)
    for record, verdict in pairs:
        unseen -= {name for name in unseen if isinstance(record, Trace) and _is_there(record, *name)}
        found = _observe(record, verdict, design)
        if isinstance(found, str):
            aside[found] += 1
            continue
        cell = (found.mode, found.state, *found.unit)
        if design.fields.sample is None:
            found = replace(found, sample=str(arrived[cell]))
        elif arrived[cell]:
            aside["another record is in the same cell: prompt, arm, seed and sample"] += 1
            continue
        arrived[cell] += 1
        observations.append(found)
    notes = [f"No record {has} {plain(name)!r}, which the design names." for has, name in sorted(unseen)]
    if design.fields.sample is None and any(count > 1 for count in arrived.values()):
        notes.append("No field tells samples apart: those of one cell are numbered as they come.")
    return Table(tuple(observations), dict(aside.most_common()), design.margin, tuple(notes))


def _names(design: Design) -> set[tuple[str, str]]:
    """Return the fields and files that a design names; no record has one that is misspelled."""
    labels = [getattr(some, channel) for some in (design.harm, design.gold) for channel in CHANNELS]
    fields = [one.field for one in (*labels, design.harmless) if one is not None]
    fields += [name for name in (design.fields.mode, design.fields.state) if name is not None]
    return {*((_HAS, name) for name in fields), *((_IS_OF, pattern) for pattern in design.files)}


def _is_there(record: Trace, has: str, name: str) -> bool:
    return _field(record, name) is not None if has == _HAS else _is_of(record, name)


def _is_of(record: Trace, pattern: str) -> bool:
    """Whether a record is of a file whose name matches."""
    return fnmatch(PurePath(record.origin.path or "").name, pattern)


def _observe(record: Trace | Unreadable, verdict: TraceVerdict | None, design: Design) -> Observation | str:
    """Return the observation for a record, or the reason why there is none."""
    if isinstance(record, Unreadable):
        return "the row could not be read"
    try:
        mode, state, prompt, seed, sample = _cell(record, design)
    except _NoCell as why:
        return str(why)
    harm = {c: found for c in CHANNELS if (found := _harm(record, verdict, design, c)) is not None}
    if not harm:
        return "nothing was judged: neither the monitor nor a label says anything"
    return Observation(
        id=record.id,
        prompt=prompt,
        mode=cast(Mode, mode),
        state=cast(State, state),
        seed=seed,
        sample=sample,
        harm=harm,
        gold={c: g for c in CHANNELS if (g := _label(record, getattr(design.gold, c))) is not None},
        words={c: len(text.split()) for c in CHANNELS if (text := getattr(record, c) or "").strip()},
        harmless=_matches(record, design),
        trajectory=trajectory(record, verdict) if verdict is not None else None,
    )


class _NoCell(Exception):
    """A record has no known cell; the message says why."""


def _cell(record: Trace, design: Design) -> tuple[str, str, str, str, str]:
    """Return mode, state, prompt, seed and sample; empty for a field that the design does not name.

    Raises:
        _NoCell: A field that the design names is missing, or has an unknown value.
    """
    assumed, fields = _assumed(record, design), design.fields
    mode = _arm(record, fields.mode, design.values.mode, assumed.mode, MODES)
    state = _arm(record, fields.state, design.values.state, assumed.state, STATES)
    prompt = _said(record, fields.prompt)
    seed = _said(record, fields.seed) if fields.seed else assumed.seed or ""
    return mode, state, prompt, str(seed), _said(record, fields.sample) if fields.sample else ""


def _assumed(record: Trace, design: Design) -> Assumed:
    """Return the assumptions for a record: its file's take precedence over the general ones."""
    merged = design.assume.model_dump(exclude_none=True)
    for pattern, said in design.files.items():
        if _is_of(record, pattern):
            merged |= said.model_dump(exclude_none=True)
    return Assumed.model_validate(merged)


def _arm(
    record: Trace, field: str | None, values: Mapping[str, str], assumed: str | None, known: Sequence[str]
) -> str:
    """Return the arm that a field names, or else the assumed one."""
    value = None if field is None else _field(record, field)
    if value is None and assumed is not None:
        return assumed
    what = "mode" if "on" in known else "state"
    if field is None:
        raise _NoCell(f"no {what}: no field is named and none assumed")
    said = word(_said(record, field))
    named = values.get(said, "zero" if said == "off" else said)
    if named not in known:
        raise _NoCell(f"no {what}: a value of the field {plain(field)!r} is not named in the design")
    return named


def _said(record: Trace, field: str) -> str:
    value = _field(record, field)
    if value is None or value == "":
        raise _NoCell(f"the field {plain(field)!r} is empty or not there")
    return str(value)


def _field(record: Trace, name: str) -> Any:
    """Return a field's value, from the metadata or a part of the trace; None if it has none.

    NaN counts as none: it may stand for an empty cell of a table.
    """
    found: Any = record.metadata
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return getattr(record, name, None) if name in ("prompt", "id", "model") else None
        found = found[part]
    return None if isinstance(found, float) and isnan(found) else found


def _harm(record: Trace, verdict: TraceVerdict | None, design: Design, channel: Channel) -> Harm | None:
    label: Label | None = getattr(design.harm, channel)
    if label is not None:
        return _label(record, label)
    if verdict is None or verdict.assessed == "none":
        return None
    judged, steps = channel_of(verdict, channel), steps_of(verdict, channel)
    if judged is None or any(step.label is None for step in steps):
        return None
    words = len((getattr(record, channel) or "").split())
    unsafe = sum(step.label in UNSAFE for step in steps)
    return Harm(judged.flagged, judged.risk, 100 * unsafe / words if words else None)


def _label(record: Trace, label: Label | None) -> Harm | None:
    said = None if label is None else label.read(_field(record, label.field))
    return None if said is None else Harm(*said)


def _matches(record: Trace, design: Design) -> bool:
    if design.harmless is None:
        return False
    return same(_field(record, design.harmless.field), design.harmless.equals)
