"""A trace: one generation of a model, with its reasoning and its answer separated."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Frozen", "NotAssessed", "Origin", "Reason", "Trace", "Unreadable"]

Reason = Literal[
    "unreadable_row",
    "wrong_types",
    "no_assistant_turn",
    "no_text",
    "no_reasoning",
    "reasoning_stripped",
    "summary_only",
    "encrypted",
    "truncated",
    "too_short",
    "language",
    "garbled",
    "declined",
    "classifier_failed",
]
"""Why a trace was judged in part or not at all."""


class Frozen(BaseModel):
    """Base of our data models: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(Frozen):
    """Where a trace was read from; `path` is null if that was not a file."""

    path: str | None = None
    """The path of the file, as given to undertow."""
    format: str | None = None
    """The name of the reader, such as `openai-chat`."""
    row: int | None = None
    """The row of the file, counted from 0."""
    turn: int | None = None
    """The assistant turn within the row, counted from 0."""


class NotAssessed(Frozen):
    """Why a trace was judged in part or not at all."""

    reason: Reason
    detail: str = ""
    """An explanation for people; it never quotes the trace."""


class Trace(Frozen):
    """One generation. A transcript with several assistant turns gives several traces.

    Every offset that undertow reports is a half-open range [start, end) of Python characters in
    `reasoning` or in `answer`, which contain the texts exactly as they were written.
    """

    id: str = ""
    prompt: str = ""
    """The request: the last user turn before the generation; empty if unknown."""
    reasoning: str | None = None
    """The chain of thought; None if there is none. Several blocks are joined by an empty line."""
    answer: str | None = None
    """The text that the user received; None if there is none."""
    model: str | None = None
    reasoning_from: str | None = None
    """The field (`reasoning_content`, …) or the tags (`tags:think`, …) that contained the reasoning."""
    truncated: bool = False
    """True if the generation ended inside the reasoning."""
    caveat: NotAssessed | None = None
    """What prevents a full judgement of the trace, as far as its reader knows."""
    origin: Origin = Origin()
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Other fields of the row that studies may need: arm, category, seed, …"""


class Unreadable(Frozen):
    """A row of the input that gave no trace. It still gets a verdict, so that no row is lost."""

    id: str = ""
    origin: Origin = Origin()
    problem: NotAssessed
