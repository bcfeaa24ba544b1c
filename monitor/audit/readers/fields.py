"""Read rows with a field for each part of a trace (prompt, reasoning, answer) under common names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....errors import UsageError
from ...message import Part, joined
from ...trace import NotAssessed, Origin, Trace, Unreadable
from .channels import assemble, unwrap
from .contract import JsonObject, first_held, name_of, text_of

__all__ = ["ROLES", "FieldsReader"]

ROLES: Mapping[str, Sequence[str]] = {
    "prompt": (
        "prompt",
        "question",
        "instruction",
        "query",
        "request",
        "user_prompt",
        "goal",
        "task",
        "input",
    ),
    "reasoning": (
        "reasoning_content",
        "reasoning",
        "reasoning_trace",
        "thinking",
        "thinking_process",
        "thinking_trace",
        "thoughts",
        "chain_of_thought",
        "cot",
        "cot_trace",
    ),
    "answer": (
        "final_answer",
        "response",
        "final_response",
        "model_response",
        "completion",
        "generation",
        "output",
        "model_output",
        "answer",
    ),
    "model": ("model", "target_model", "model_name", "model_id", "generator"),
    "id": ("id", "uuid", "uid", "trace_id", "sample_id", "custom_id"),
}
"""The parts of a trace and their field names, in order of precedence.

The field `answer` comes last, because beside a `response` it is mostly the reference answer.
"""


@dataclass(frozen=True)
class FieldsReader:
    """Reads one generation per row, from the fields in `ROLES` or in a mapping.

    Raises:
        UsageError: The mapping names an unknown part.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    """Maps a part to the only field that it is then read from."""

    name: str = "fields"
    description: str = "one field per part of a trace; --map sets other names"

    def __post_init__(self) -> None:
        """Check the mapping."""
        if unknown := sorted(set(self.mapping) - set(ROLES)):
            raise UsageError(
                f"cannot map {', '.join(unknown)}; the parts that can be mapped are {', '.join(ROLES)}"
            )

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """The field names of each part."""
        return {**ROLES, **{part: (name,) for part, name in self.mapping.items()}}

    def matches(self, row: JsonObject) -> bool:
        """Return whether a reasoning or answer field of the row holds text or null."""
        names = (*self.fields["reasoning"], *self.fields["answer"])
        return any(isinstance(row.get(name, 0), str | None) for name in names)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield one record for the row."""
        names = self.fields
        row_id = name_of(row, names["id"], origin)
        if not any(name in row for name in (*names["reasoning"], *names["answer"])):
            problem = NotAssessed(
                reason="no_text", detail="the row has no field for the reasoning or the answer"
            )
            yield Unreadable(id=row_id, origin=origin, problem=problem)
            return
        held = {part: first_held(row, names[part]) for part in ("prompt", "reasoning", "answer")}
        texts = {part: text_of(row, name) for part, name in held.items() if name is not None}
        prompt, model = texts.get("prompt") or "", _model(row, names["model"])
        parts, tails = _reasoning(row, names["reasoning"], model)
        channels = assemble(parts, texts.get("answer"), prompt=prompt, model=model)
        used = {*held.values(), *names["reasoning"], *names["model"], *names["id"]}
        yield Trace(
            id=row_id,
            prompt=prompt,
            reasoning=channels.reasoning,
            answer=joined([*tails, channels.answer]),
            model=model,
            reasoning_from=channels.reasoning_from,
            truncated=channels.truncated,
            origin=origin,
            metadata={name: value for name, value in row.items() if name not in used},
        )


def _model(row: JsonObject, names: Sequence[str]) -> str | None:
    return next((value for name in names if isinstance(value := row.get(name), str)), None)


def _reasoning(row: JsonObject, names: Sequence[str], model: str | None) -> tuple[list[Part], list[str]]:
    """Return the reasoning in each field, and any answer text that those fields contain."""
    parts, tails = [], []
    for name in names:
        text = row.get(name)
        if isinstance(text, str) and text.strip():
            wrapped = unwrap(text, model)
            parts.append(Part(name, wrapped.reasoning if wrapped else text))
            tails.append(wrapped.answer if wrapped else "")
    return parts, tails
