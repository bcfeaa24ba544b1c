"""What the report counts beyond the tally: the risk along the reasoning, and flags by group.

Only counts are kept, so memory use does not grow with the number of traces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..intervals import quantile, wilson
from ..trace import Trace, Unreadable
from ..verdict import StepVerdict, TraceVerdict, steps_of

__all__ = ["BINS", "Group", "Groups", "Profile", "Value", "reasoning_of"]

BINS: Final = 20
"""The number of places along the reasoning at which the risk is counted."""

_LEVELS: Final = 101  # 0, 0.01, …, 1
_MOST_VALUES, _MOST_KEYS, _LONGEST = 12, 40, 60
_WORD: Final = 16  # characters that fit into the first column of a table of half the page's width


class Profile:
    """The risk along the reasoning over many traces: a histogram at each place.

    A trace counts once at each place, with the risk of the step there, so traces of many steps weigh no
    more than traces of few.
    """

    def __init__(self) -> None:
        self.traces = 0
        self._counts: NDArray[np.int64] = np.zeros((BINS, _LEVELS), dtype=np.int64)

    def add(self, steps: Sequence[StepVerdict], length: int) -> None:
        """Count one reasoning of `length` characters; skip unjudged steps, and a reasoning of only those."""
        if not length or all(step.risk is None for step in steps):
            return
        self.traces += 1
        starts = np.array([step.start for step in steps])
        middles = (np.arange(BINS) + 0.5) * length / BINS
        standing = np.maximum(np.searchsorted(starts, middles, side="right") - 1, 0)
        for place, index in enumerate(standing):
            risk = steps[index].risk
            if risk is not None:
                self._counts[place, round(risk * (_LEVELS - 1))] += 1

    def quantile(self, share: float) -> list[float | None]:
        """Return, at each place, the quantile of the risk over traces, as `numpy.quantile` computes it.

        None where no trace was judged. Exact to 0.01.
        """
        found = (quantile(row, share) for row in self._counts.tolist())
        return [None if one is None else one / (_LEVELS - 1) for one in found]


@dataclass(frozen=True, slots=True)
class Value:
    """The traces that share a value: how many there are, were judged, and were flagged."""

    name: str
    total: int
    judged: int
    flagged: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the share flagged among the judged traces."""
        return wilson(self.flagged, self.judged)


@dataclass(frozen=True, slots=True)
class Group:
    """One way to group traces, such as by model, with the counts of each value."""

    key: str
    title: str
    values: tuple[Value, ...]

    @property
    def wide(self) -> bool:
        """Whether a name contains a word, such as a path, that half of the page would break."""
        return any(len(word) > _WORD for value in self.values for word in re.split(r"[\s-]", value.name))


@dataclass(slots=True)
class _Counts:
    total: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    flagged: Counter[str] = field(default_factory=Counter)


class Groups:
    """Counts flags by model, by file, and by each metadata field that has few values."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts | None] = {}  # None: a field with too many values

    def add(self, fields: Mapping[str, str], verdict: TraceVerdict) -> None:
        """Count one verdict under each of its fields, as returned by `fields_of`."""
        for key, value in fields.items():
            if key not in self._counts and len(self._counts) < _MOST_KEYS:
                self._counts[key] = _Counts()
            counts = self._counts.get(key)
            if counts is None:
                continue
            counts.total[value] += 1
            counts.judged[value] += verdict.assessed != "none"
            counts.flagged[value] += bool(verdict.flagged)
            if len(counts.total) > _MOST_VALUES:
                self._counts[key] = None

    def found(self) -> list[Group]:
        """Return the groups with two or more values, the most frequent value first; wide groups come last."""
        found = [
            Group(
                key,
                key.partition(" ")[2],
                tuple(
                    Value(name, total, counts.judged[name], counts.flagged[name])
                    for name, total in counts.total.most_common()
                ),
            )
            for key, counts in self._counts.items()
            if counts is not None and len(counts.total) > 1
        ]
        return sorted(found, key=lambda group: group.wide)

    @staticmethod
    def fields_of(item: Trace | Unreadable, verdict: TraceVerdict, *, redact: bool) -> dict[str, str]:
        """Return the fields by which a trace can be grouped; without metadata if `redact` is set."""
        named = {"trace model": verdict.model, "trace file": verdict.origin.path}
        fields = {key: value for key, value in named.items() if value and len(value) <= 4 * _LONGEST}
        return fields if redact or isinstance(item, Unreadable) else fields | dict(_scalars(item))


def _scalars(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield the short, plain metadata values; the prefix separates their keys from model and file."""
    for key, value in trace.metadata.items():
        if isinstance(value, str | int | bool) and len(str(value)) <= _LONGEST >= len(key):
            yield f"field {key}", str(value)


def reasoning_of(item: Trace | Unreadable, verdict: TraceVerdict) -> tuple[list[StepVerdict], int]:
    """Return the steps of the reasoning, and its length in characters as far as it is known."""
    text, steps = item.reasoning if isinstance(item, Trace) else None, steps_of(verdict, "reasoning")
    return steps, len(text or "") or (steps[-1].end if steps else 0)
