"""Read conversations saved as lists of messages; each assistant turn becomes one trace.

The reasoning of a message may be in one of several fields (`_FIELDS`, `_LISTS`), in parts of its content,
or between tags in its text. All are read, and `Trace.reasoning_from` names those that held it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ...trace import NotAssessed, Origin, Trace, Unreadable
from ..files import json_within
from .channels import Part, assemble, joined
from .contract import JsonObject, WrongType, name_of, text_of

__all__ = ["IDS", "MessagesReader", "conversation", "reasoning_tokens", "turns_of"]

_FIELDS = ("reasoning_content", "reasoning", "thinking")
_LISTS = ("reasoning_details", "thinking_blocks")
_ROLES, _CONTENTS = ("role", "from"), ("content", "value", "parts")
_ASSISTANT = frozenset({"assistant", "gpt", "model", "chatgpt", "bot", "ai"})
_USER = frozenset({"user", "human"})

IDS = ("id", "uuid", "uid", "conversation_id", "trace_id", "sample_id", "custom_id")
_NAMES: Mapping[str, Sequence[str]] = {
    "reasoning": (*_FIELDS, *_LISTS, "content[].thinking", "content[].reasoning", "tags in the text"),
    "model": ("model",),
    "id": IDS,
}
_THINKING: Mapping[str, Sequence[str]] = {
    "thinking": ("thinking",),
    "reasoning": ("reasoning", "text", "content"),
    "reasoning.text": ("text",),
}
_ENCRYPTED = frozenset({"reasoning.encrypted", "redacted_thinking"})
_SPENT = re.compile("reasoning|thinking|thoughts")
_SUMMARISER = re.compile(r"claude(?!.*3[-.]7)", re.IGNORECASE)
"""Matches Claude models whose thinking is returned as a summary: all but Claude 3.7 Sonnet."""


@dataclass
class _Found:
    """The contents of a message, collected while its fields are read."""

    parts: list[Part] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
    summarised: bool = False
    encrypted: bool = False

    def caveat(self, model: str | None, tokens: int) -> NotAssessed | None:
        """Return why the reasoning cannot be judged in full, or None.

        Args:
            model: The model's name.
            tokens: Number of reasoning tokens according to the row; 0 if unknown.
        """
        blocks = any(part.source.endswith(":thinking") and part.text.strip() for part in self.parts)
        if self.summarised or (blocks and _SUMMARISER.search(model or "")):
            return NotAssessed(reason="summary_only", detail="a summary was saved instead of the reasoning")
        if self.encrypted:
            return NotAssessed(reason="encrypted", detail="the reasoning was saved encrypted or left out")
        if tokens and not any(part.text.strip() for part in self.parts):
            detail = f"the model spent {tokens} tokens on reasoning; none of it was saved"
            return NotAssessed(reason="reasoning_stripped", detail=detail)
        return None


@dataclass(frozen=True)
class MessagesReader:
    """Reads rows that contain a conversation as a list of messages."""

    name: str
    description: str
    messages: str
    """The field that contains the list."""

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """The parts that are read from a row and its messages."""
        return {"conversation": (self.messages,), **_NAMES}

    def matches(self, row: JsonObject) -> bool:
        """Return whether the field is present and not null: rows of a mixed table have all columns."""
        return row.get(self.messages) is not None

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each assistant turn, and for each malformed message."""
        turns = turns_of(row, self.messages)
        own = {name: value for name, value in row.items() if name not in (self.messages, "model", *IDS)}
        return conversation(
            turns,
            origin,
            where=self.messages,
            name=name_of(row, IDS, origin),
            model=row.get("model"),
            metadata=own,
            tokens=reasoning_tokens(row.get("usage")),
        )


def conversation(
    turns: Sequence[object],
    origin: Origin,
    *,
    where: str,
    name: str,
    model: object = None,
    metadata: Mapping[str, object] | None = None,
    tokens: int = 0,
) -> Iterator[Trace | Unreadable]:
    """Yield a record for each assistant turn, and for each malformed message.

    Args:
        turns: The messages, in order.
        origin: Where the row was read.
        where: The name of the list, used in error details.
        name: The id of the row.
        model: The model's name, for messages that do not give one.
        metadata: Other fields of the row.
        tokens: Number of reasoning tokens of the last turn; 0 if unknown.
    """
    records = list(_records(_Row(origin, where, model, dict(metadata or {})), turns, tokens))
    if not any(record.origin.turn is not None for record in records):
        detail = f"{len(turns)} messages, none of them from the assistant"
        problem = NotAssessed(reason="no_assistant_turn", detail=detail)
        records.append(Unreadable(origin=origin, problem=problem))
    for record in records:
        turn = record.origin.turn
        own = f"{name}#{turn}" if turn is not None and len(records) > 1 else name
        yield record.model_copy(update={"id": own})


def reasoning_tokens(usage: object) -> int:
    """Return the number of reasoning tokens in the usage reported by any API; 0 if unknown."""
    if isinstance(usage, list):
        return max(map(reasoning_tokens, usage), default=0)
    if not isinstance(usage, dict):
        return 0
    named = (value for name, value in usage.items() if _SPENT.search(name))
    counts = [int(value) for value in named if isinstance(value, int | float) and 0 < value < 10**12]
    return max([*counts, *(reasoning_tokens(value) for value in usage.values())], default=0)


def turns_of(row: JsonObject, name: str) -> list[object]:
    """Return the messages in a field, which may hold them as JSON text, as table cells do.

    Raises:
        WrongType: The field holds something else.
    """
    value = row.get(name)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # the text is then refused below
            value = json_within(value)
    if not isinstance(value, list):
        raise WrongType(name, value, "a list of messages")
    return value


@dataclass(frozen=True)
class _Row:
    """The values that all messages of a row share."""

    origin: Origin
    where: str
    model: object
    metadata: dict[str, object]


def _records(row: _Row, turns: Sequence[object], tokens: int) -> Iterator[Trace | Unreadable]:
    """Yield a record for each assistant turn and each malformed message, without ids."""
    user: tuple[JsonObject, str] = ({}, "")
    turn = 0
    for position, item in enumerate(turns):
        where, own = f"{row.where}[{position}]", row.origin
        try:
            message = _object(item, where)
            speaker = _role(message, where)
            if speaker in _USER:
                user = (message, where)
            elif speaker in _ASSISTANT:
                own, turn = own.model_copy(update={"turn": turn}), turn + 1
                prompt = joined(_found(*user).visible) or ""
                named = next((m for m in (message.get("model"), row.model) if isinstance(m, str)), None)
                spent = reasoning_tokens(message.get("usage")) or tokens * (position == len(turns) - 1)
                yield _trace(_found(message, where), prompt, named, own, spent).model_copy(
                    update={"metadata": row.metadata}
                )
        except WrongType as error:
            yield Unreadable(origin=own, problem=NotAssessed(reason="wrong_types", detail=str(error)))


def _trace(found: _Found, prompt: str, model: str | None, origin: Origin, tokens: int) -> Trace:
    channels = assemble(found.parts, joined(found.visible), model=model)
    return Trace(
        prompt=prompt,
        reasoning=channels.reasoning,
        answer=channels.answer,
        model=model,
        reasoning_from=channels.reasoning_from,
        truncated=channels.truncated,
        caveat=found.caveat(model, 0 if channels.reasoning else tokens),
        origin=origin,
    )


def _object(value: object, where: str) -> JsonObject:
    if isinstance(value, dict):
        return value
    raise WrongType(where, value, "an object")


def _role(message: JsonObject, where: str) -> str:
    """Return the role of a message, in lower case."""
    name = next((name for name in _ROLES if name in message), _ROLES[0])
    role = message.get(name)
    if not isinstance(role, str):
        raise WrongType(f"{where}.{name}", role)
    return role.lower()


def _found(message: JsonObject, where: str) -> _Found:
    """Collect the contents of a message from its fields, in order of precedence."""
    found = _Found()
    for name in _FIELDS:
        if text := _text(message, name, where):
            found.parts.append(Part(name, text))
    for name in _LISTS:
        for index, part in enumerate(_list(message, name, where)):
            _gather(part, name, f"{where}.{name}[{index}]", found)
    name = next((name for name in _CONTENTS if message.get(name) not in (None, "")), "refusal")
    content = message.get(name)
    if isinstance(content, list):
        for index, part in enumerate(content):
            _gather(part, "content", f"{where}.{name}[{index}]", found)
    else:
        found.visible.append(_text(message, name, where) or "")
    return found


def _gather(value: object, source: str, where: str, found: _Found) -> None:
    """Add one content part or reasoning part to `found`, according to its type."""
    if isinstance(value, str):
        found.visible.append(value)
        return
    part = _object(value, where)
    what = str(part.get("type"))
    if what in _ENCRYPTED:
        found.encrypted = True
    elif what == "reasoning.summary" or (what == "reasoning" and part.get("redacted")):
        # Only the summary of a redacted part is readable; the rest is encrypted.
        summary = _text(part, "summary", where) or ""
        found.encrypted, found.summarised = True, found.summarised or bool(summary)
        found.parts.append(Part(f"{source}:summary", summary))
    elif part.get("thought") is True:  # from the Gemini API, which returns summaries
        text = _text(part, "text", where) or ""
        found.summarised |= bool(text.strip())
        found.parts.append(Part(f"{source}:thought", text))
    elif what in _THINKING:
        name = next((name for name in _THINKING[what] if part.get(name) is not None), "text")
        text, short = _text(part, name, where) or "", part.get("summary")
        if not text.strip() and isinstance(short, str) and short.strip():
            found.summarised, text = True, short
        found.encrypted |= not text.strip() and bool(part.get("signature"))
        found.parts.append(Part(f"{source}:{what}", text))
    else:
        plain = "content" if isinstance(part.get("content"), str) else "text"
        found.visible.append(_text(part, what if what == "refusal" else plain, where) or "")


def _text(holder: JsonObject, name: str, where: str) -> str | None:
    try:
        return text_of(holder, name)
    except WrongType:
        raise WrongType(f"{where}.{name}", holder[name]) from None


def _list(holder: JsonObject, name: str, where: str) -> Sequence[object]:
    value = holder.get(name)
    if value is None or isinstance(value, list):
        return value or []
    raise WrongType(f"{where}.{name}", value, "a list")
