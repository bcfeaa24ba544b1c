"""The training data of `step-encoder`: labelled steps, and labels of whole traces and requests.

Labels of steps are expensive. In addition, much is known of texts as a whole: this request is
harmful, this answer is harmful, this trace solves a puzzle.
A lesson holds whatever is known of one text; the rest is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .contract import LABELS, UNSAFE, Channel
from .corpus import LabelledTrace
from .rows import read_rows

__all__ = [
    "Lesson",
    "Whole",
    "of_labelled",
    "read_benign",
    "read_pairs",
]

Whole: TypeAlias = Literal["neutral", "harmful", "harmless"]
"""A label of all steps together: all neutral; at least one unsafe; none unsafe."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One trace or request and what is known of it."""

    prompt: str
    steps: tuple[str, ...] = ()
    channel: Channel = "reasoning"
    labels: tuple[int, ...] | None = None
    """The steps' labels as indices into `LABELS`."""
    whole: Whole | None = None
    """What is known of the steps as a whole."""
    harmful_request: bool | None = None
    group: str = ""
    generator: str = ""

    @property
    def unsafe(self) -> bool | None:
        """Whether any step of the reasoning is unsafe; None if that is not known."""
        if self.labels is not None:
            return any(LABELS[label] in UNSAFE for label in self.labels)
        return False if self.whole == "neutral" else None


def of_labelled(traces: Iterable[LabelledTrace], harmful_sources: Sequence[str] = ()) -> list[Lesson]:
    """Return a lesson for each labelled trace.

    Args:
        traces: labelled traces; those without steps are skipped.
        harmful_sources: sources whose requests are all harmful.
    """
    return [
        Lesson(
            trace.prompt,
            trace.texts,
            labels=tuple(LABELS.index(label) for label in trace.labels),
            harmful_request=True if trace.prompt and trace.source in harmful_sources else None,
            group=trace.group,
            generator=trace.generator,
        )
        for trace in traces
        if trace.labels
    ]


def read_benign(path: Path, longest: int = 25) -> list[Lesson]:
    """Read the traces that their source declares benign, which are neutral throughout.

    Args:
        path: JSON Lines, gzipped or not, with prompt, reasoning, units, group and labels.selected_as.
        longest: the number of steps of each trace that are kept.

    Raises:
        InputError: if the file cannot be read, or a row is not such a trace.
    """
    found = read_rows(path, lambda row, _: _benign(row, longest), "a trace with labels.selected_as")
    return [lesson for lesson in found if lesson is not None and lesson.steps]


def read_pairs(path: Path, cut: Callable[[str], Sequence[str]], longest: int = 12) -> list[Lesson]:
    """Read requests, alone or with an answer, that are labelled harmful or not.

    Args:
        path: JSON Lines, gzipped or not, with request, response and harmful.
        cut: splits a text into the texts of its steps.
        longest: the number of steps of each answer that are kept.

    Raises:
        InputError: if the file cannot be read, or a row is not such a pair.
    """
    found = read_rows(path, lambda row, _: _pair(row, cut, longest), "a request with its answer")
    return [lesson for lesson in found if lesson is not None]


def _benign(row: Any, longest: int) -> Lesson | None:
    if row["labels"].get("selected_as") != "benign":
        return None
    return Lesson(
        row["prompt"] or "",
        tuple(row["reasoning"][start:end] for start, end in row["units"][:longest]),
        whole="neutral",
        harmful_request=False,
        group=row["group"],
        generator=row.get("generator") or "",
    )


def _pair(row: Any, cut: Callable[[str], Sequence[str]], longest: int) -> Lesson | None:
    request, harmful = row["request"] or "", bool(row["harmful"])
    if row["response"]:
        whole: Whole = "harmful" if harmful else "harmless"
        steps = tuple(cut(row["response"]))[:longest]
        asked = True if harmful and request else None
        return Lesson(request, steps, "answer", whole=whole, harmful_request=asked)
    return Lesson(request, harmful_request=harmful) if request else None
