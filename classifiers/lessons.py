"""What `step-encoder` learns from: labelled steps, and what is known of whole traces and requests.

Labels of steps are dear. Beside them much is known of texts as wholes: this request is harmful,
this answer is, this trace solves a puzzle, that one reasons its way to a refusal. A lesson holds
whatever is known of one text; the rest is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from .contract import LABELS, UNSAFE, Channel, StepClassifier, StepInput, in_context
from .corpus import LabelledTrace
from .limits import limit_of
from .rows import read_rows

__all__ = [
    "Lesson",
    "Whole",
    "estimated",
    "of_labelled",
    "read_pairs",
    "read_unlabelled",
    "read_whole_traces",
]

Whole: TypeAlias = Literal["neutral", "safe", "harmful", "harmless"]
"""Every step is neutral; every step is safe; at least one step is unsafe; none is."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One text and what is known of it."""

    prompt: str
    steps: tuple[str, ...] = ()
    channel: Channel = "reasoning"
    labels: tuple[int, ...] | None = None
    """The steps' labels as indices into `LABELS`."""
    estimates: tuple[tuple[float, ...], ...] | None = None
    """Where there are no labels, how likely another classifier holds each to be, a row a step."""
    whole: Whole | None = None
    """What is known of the steps taken together."""
    harmful_request: bool | None = None
    group: str = ""
    generator: str = ""

    @property
    def unsafe(self) -> bool | None:
        """Whether a trace of reasoning turns unsafe at all, where that is known."""
        if self.labels is not None:
            return any(LABELS[label] in UNSAFE for label in self.labels)
        return False if self.whole in ("neutral", "safe") else None


def of_labelled(traces: Iterable[LabelledTrace], harmful_sources: Sequence[str] = ()) -> list[Lesson]:
    """Return the lesson of each labelled trace.

    Args:
        traces: those without steps are passed over.
        harmful_sources: sources all of whose requests are harmful.
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


def read_whole_traces(path: Path, longest: int = 25) -> list[Lesson]:
    """Read traces of which the source says that they are benign, or reason safely about harm.

    Args:
        path: JSON Lines, gzipped or not, with prompt, reasoning, units, group and labels.selected_as.
        longest: steps of each that are kept.

    Raises:
        InputError: the file cannot be read, or a row is not such a trace.
    """
    found = read_rows(path, lambda row, _: _trace(row, longest), "a trace of which something is known")
    return [lesson for lesson in found if lesson.whole is not None and lesson.steps]


def read_unlabelled(path: Path, longest: int = 30) -> list[Lesson]:
    """Read traces of which nothing is known, but for those that are not in English.

    Args:
        path: as for `read_whole_traces`.
        longest: steps of each that are kept.

    Raises:
        InputError: the file cannot be read, or a row is not such a trace.
    """
    found = read_rows(path, lambda row, _: _trace(row, longest), "a trace")
    return [lesson for lesson in found if lesson.whole is None and lesson.steps and _readable(lesson)]


def estimated(lessons: Iterable[Lesson], teacher: StepClassifier) -> list[Lesson]:
    """Let a classifier say what the steps of some traces are; a trace that it cannot judge is left out.

    What it says of texts that it never saw is soft: a lesson is how sure it was as well
    (Hinton et al., "Distilling the knowledge in a neural network", 2015).
    """
    lessons = list(lessons)
    rows = [teacher.predict_proba(_inputs(lesson)) for lesson in lessons]
    return [
        replace(lesson, estimates=tuple(map(tuple, judged.tolist())))
        for lesson, judged in zip(lessons, rows, strict=True)
        if np.isfinite(judged).all()
    ]


def read_pairs(path: Path, cut: Callable[[str], Sequence[str]], longest: int = 12) -> list[Lesson]:
    """Read requests and answers of which it is known whether they are harmful.

    Args:
        path: JSON Lines, gzipped or not, with request, response and harmful.
        cut: cuts a text into the texts of its steps.
        longest: steps of each answer that are kept.

    Raises:
        InputError: the file cannot be read, or a row is not such a pair.
    """
    found = read_rows(path, lambda row, _: _pair(row, cut, longest), "a request with its answer")
    return [lesson for lesson in found if lesson is not None]


def _trace(row: Any, longest: int) -> Lesson:
    kinds: dict[str, Whole] = {"benign": "neutral", "safe": "safe"}
    whole = kinds.get(row["labels"].get("selected_as", ""))
    steps = tuple(row["reasoning"][start:end] for start, end in row["units"][:longest])
    harmful = False if whole == "neutral" else None
    return Lesson(
        row["prompt"] or "",
        steps,
        whole=whole,
        harmful_request=harmful,
        group=row["group"],
        generator=row.get("generator") or "",
    )


def _inputs(lesson: Lesson) -> list[StepInput]:
    return in_context(lesson.steps, lesson.prompt, lesson.channel)


def _readable(lesson: Lesson) -> bool:
    return 2 * sum(limit_of(step) is not None for step in _inputs(lesson)) <= len(lesson.steps)


def _pair(row: Any, cut: Callable[[str], Sequence[str]], longest: int) -> Lesson | None:
    request, harmful = row["request"] or "", bool(row["harmful"])
    if row["response"]:
        whole: Whole = "harmful" if harmful else "harmless"
        steps = tuple(cut(row["response"]))[:longest]
        asked = True if harmful and request else None
        return Lesson(request, steps, "answer", whole=whole, harmful_request=asked)
    return Lesson(request, harmful_request=harmful) if request else None
