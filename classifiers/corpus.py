"""Read labelled traces, put their steps in context, and split them into grouped folds.

A corpus is JSON Lines, one trace per row, with at least

    id, prompt, reasoning, units [[start, end], …], step_labels ["NNAD…"]

and, if known, source, generator, group, trace_labels and answer. Each string of `step_labels` is
one labelling of the whole trace, one letter per unit (N neutral, A aware, D drift, H harm); the
first string counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from .contract import LABELS, Label, StepInput, in_context
from .rows import read_rows

__all__ = [
    "LETTERS",
    "LabelledTrace",
    "check_units",
    "grouped_folds",
    "label_indices",
    "labelled_trace",
    "read_labelled",
    "step_inputs",
    "told",
    "trace_label_of",
]

LETTERS: dict[str, Label] = {label[0].upper(): label for label in LABELS}
"""The letters N, A, D, H → their labels."""

_MISSING = ("None", "", "nan")
"""How tables write a missing value."""


@dataclass(frozen=True, slots=True)
class LabelledTrace:
    """A trace whose steps have labels."""

    id: str
    source: str
    generator: str
    group: str
    """Identifies traces that answer the same request: a group is never on both sides of a split."""
    prompt: str
    reasoning: str
    units: tuple[tuple[int, int], ...]
    """The labelled steps as [start, end) in `reasoning`; of a long trace, perhaps only the first ones."""
    labels: tuple[Label, ...]
    """One label for each unit."""
    trace_label: int | None
    """0 safe, 1 potentially unsafe, 2 unsafe; None if the trace as a whole has no label."""
    answer: str = ""
    """The answer that followed the reasoning; not labelled."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each unit."""
        return tuple(self.reasoning[start:end] for start, end in self.units)


def read_labelled(path: Path) -> list[LabelledTrace]:
    """Read a corpus of labelled traces (JSON Lines, gzipped or not).

    Raises:
        InputError: if the file cannot be read, or a row is not a labelled trace; names the line.
    """
    numbers = count()  # of rows, as an audit counts them: a row without an id has the same name there
    return list(
        read_rows(
            path, lambda row, _: labelled_trace(row, f"{path.stem}:{next(numbers)}"), "a labelled trace"
        )
    )


def step_inputs(trace: LabelledTrace) -> list[StepInput]:
    """Return each unit as a step with the request and at most the last `HISTORY` earlier units."""
    return in_context(trace.texts, trace.prompt)


def label_indices(traces: Sequence[LabelledTrace]) -> NDArray[np.int64]:
    """Return the labels of all steps of all traces as indices into `LABELS`, shape (steps,)."""
    return np.array([LABELS.index(label) for trace in traces for label in trace.labels], dtype=np.int64)


def grouped_folds(
    traces: Sequence[LabelledTrace], k: int = 5, seed: int = 0
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield k (train, test) pairs of indices into `traces`; no group is ever on both sides."""
    names, group = np.unique([trace.group for trace in traces], return_inverse=True)
    for _, held_out in KFold(k, shuffle=True, random_state=seed).split(names):
        test = np.isin(group, held_out)
        yield np.flatnonzero(~test), np.flatnonzero(test)


def labelled_trace(fields: dict[str, Any], name: str) -> LabelledTrace:
    """Return a row of a corpus as a labelled trace; `name` is its id if it has none.

    Raises:
        ValueError, KeyError, TypeError: if it is not a labelled trace.
    """
    said = fields["step_labels"]
    letters: str = said if isinstance(said, str) else said[0]
    reasoning = _text(fields, "reasoning")
    units = tuple((int(start), int(end)) for start, end in fields["units"])
    check_units(units, len(letters), len(reasoning))
    identifier = told(fields, "id") or name
    return LabelledTrace(
        id=identifier,
        source=told(fields, "source"),
        generator=told(fields, "generator"),
        group=told(fields, "group") or identifier,
        prompt=_text(fields, "prompt"),
        reasoning=reasoning,
        units=units,
        labels=tuple(LETTERS[letter] for letter in letters),
        trace_label=trace_label_of(fields.get("trace_labels")),
        answer=_text(fields, "answer"),
    )


def check_units(units: Sequence[tuple[int, int]], labels: int, length: int, what: str = "units") -> None:
    """Check that units have one label each, lie within a reasoning of this length, and do not overlap.

    Raises:
        ValueError: if they do not; the message counts them from 0, as Python does.
    """
    if len(units) != labels:
        raise ValueError(f"{labels} labels for {len(units)} {what}")
    for number, (start, end) in enumerate(units):
        if not 0 <= start < end <= length:
            raise ValueError(f"unit {number}, [{start}, {end}], lies outside the reasoning (length {length})")
        if number and start < units[number - 1][1]:
            raise ValueError(f"unit {number}, [{start}, {end}], begins before the previous one ends")


def trace_label_of(said: Any) -> int | None:
    """Return the label of a whole trace, given as a value or as the first of a list; None if there is none.

    Raises:
        ValueError: if the label is none of 0, 1 and 2.
    """
    first = str(next(iter(said), None) if isinstance(said, list) else said)
    if first in _MISSING:
        return None
    label = first.removesuffix(".0")  # a table with missing values turns its numbers into floats
    if label not in ("0", "1", "2"):
        raise ValueError(
            f"`trace_labels` must be 0 (safe), 1 (potentially unsafe) or 2 (unsafe), not {label[:20]!r}"
        )
    return int(label)


def told(fields: Mapping[str, Any], name: str) -> str:
    """Return a name in a field, which may be a number, 0 too; "" if it is missing."""
    value = fields.get(name)
    return "" if str(value) in _MISSING else str(value)


def _text(fields: dict[str, Any], name: str) -> str:
    """Return the text of a field; "" if it is missing."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} is not text")
    return value or ""
