"""Labelled steps: reading them, giving them their context, splitting them honestly.

A corpus is JSON Lines, one trace a row, with at least

    id, prompt, reasoning, units [[start, end], …], step_labels ["NNAD…"]

and, where known, source, generator, group and trace_labels. Each string of `step_labels` is
one labelling of the whole trace, a letter a unit (N neutral, A aware, D drift, H harm); the
first one counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    "grouped_folds",
    "label_indices",
    "read_labelled",
    "step_inputs",
    "trace_label_of",
]

LETTERS: dict[str, Label] = {label[0].upper(): label for label in LABELS}
"""N, A, D, H → the label that each stands for."""


@dataclass(frozen=True, slots=True)
class LabelledTrace:
    """A trace whose steps have labels."""

    id: str
    source: str
    generator: str
    group: str
    """Ties traces that answer the same request: a group never stands on both sides of a split."""
    prompt: str
    reasoning: str
    units: tuple[tuple[int, int], ...]
    """The labelled steps as [start, end) in `reasoning`; a long trace may have only its first ones."""
    labels: tuple[Label, ...]
    """One label a unit."""
    trace_label: int | None
    """0 safe, 1 potentially unsafe, 2 unsafe; None where nobody said."""
    answer: str = ""
    """What followed the reasoning; not labelled."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each unit."""
        return tuple(self.reasoning[start:end] for start, end in self.units)


def read_labelled(path: Path) -> list[LabelledTrace]:
    """Read a corpus of labelled steps (JSON Lines, packed with gzip or not).

    Raises:
        InputError: the file cannot be read, or a row is not a labelled trace; names the line.
    """
    return list(read_rows(path, _trace, "a labelled trace"))


def step_inputs(trace: LabelledTrace) -> list[StepInput]:
    """Return each unit with the request and the units before it, `HISTORY` of them at most."""
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


def _trace(fields: dict[str, Any], number: int) -> LabelledTrace:
    letters: str = fields["step_labels"][0]
    reasoning = _text(fields, "reasoning")
    units = tuple((int(start), int(end)) for start, end in fields["units"])
    if len(letters) != len(units):
        raise ValueError(f"{len(letters)} labels for {len(units)} units")
    if any(not 0 <= start < end <= len(reasoning) for start, end in units):
        raise ValueError("a unit lies outside the reasoning")
    if any(start < end for (_, end), (start, _) in pairwise(units)):
        raise ValueError("a unit begins before the one before it ends")
    identifier = str(fields.get("id") or number)
    return LabelledTrace(
        id=identifier,
        source=str(fields.get("source") or ""),
        generator=str(fields.get("generator") or ""),
        group=str(fields.get("group") or identifier),
        prompt=_text(fields, "prompt"),
        reasoning=reasoning,
        units=units,
        labels=tuple(LETTERS[letter] for letter in letters),
        trace_label=trace_label_of(fields.get("trace_labels")),
        answer=_text(fields, "answer"),
    )


def trace_label_of(said: Any) -> int | None:
    """Return the label of a whole trace, which stands by itself or first in a list; None where nobody said.

    Raises:
        ValueError: it is none of the three.
    """
    first = str(next(iter(said), None) if isinstance(said, list) else said)
    if first in ("None", "", "nan"):  # what a table holds where nobody said
        return None
    label = first.removesuffix(".0")  # and what it makes of numbers among such
    if label not in ("0", "1", "2"):
        raise ValueError("`trace_labels` is 0 for a safe trace, 1 for a doubtful and 2 for an unsafe one")
    return int(label)


def _text(fields: dict[str, Any], name: str) -> str:
    """Return a text; an empty one where there is none."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value or ""
