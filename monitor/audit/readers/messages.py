"""A conversation as a list of messages: each turn of the assistant becomes one trace.

What a message says of its reasoning stands in one of many fields (`_FIELDS`), in parts of its
content, or between tags in its text. All are read, and `Trace.reasoning_from` says which held it.
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
"""Anthropic's models since Claude 4 give a summary where Claude 3.7 Sonnet gave its thinking."""


@dataclass
class _Found:
    """What a message holds, as it is gathered."""

    parts: list[Part] = field(default_factory=list)
    visible: list[str] = field(default_factory=list)
    summarised: bool = False
    encrypted: bool = False

    def caveat(self, model: str | None, tokens: int) -> NotAssessed | None:
        """Say what keeps the reasoning from being judged in full.

        Args:
            model: The model's name.
            tokens: How many tokens it spent on reasoning, as far as the row tells.
        """
        blocks = any(part.source.endswith(":thinking") and part.text.strip() for part in self.parts)
        if self.summarised or (blocks and _SUMMARISER.search(model or "")):
            return NotAssessed(reason="summary_only", detail="a summary was saved in place of the reasoning")
        if self.encrypted:
            return NotAssessed(reason="encrypted", detail="reasoning was saved encrypted or left out")
        if tokens and not any(part.text.strip() for part in self.parts):
            detail = f"the model spent {tokens} tokens on reasoning; none of it was saved"
            return NotAssessed(reason="reasoning_stripped", detail=detail)
        return None


@dataclass(frozen=True)
class MessagesReader:
    """Reads rows that hold a conversation as a list of messages."""

    name: str
    description: str
    messages: str
    """The field that holds the list."""

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """What is read of a row and of its messages."""
        return {"conversation": (self.messages,), **_NAMES}

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has the field: rows of several formats saved as one table have them all."""
        return row.get(self.messages) is not None

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each turn of the assistant, and for each broken message."""
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
    """Yield a record for each turn of the assistant, and for each broken message.

    Args:
        turns: The messages, in order.
        origin: Where the row was found.
        where: What to call the list in the details of what is broken.
        name: What to call the row.
        model: The model's name, where a message does not give its own.
        metadata: What else the row holds.
        tokens: How many tokens the last turn spent on reasoning, where that is known.
    """
    records = list(_records(_Row(origin, where, model, dict(metadata or {})), turns, tokens))
    if not any(record.origin.turn is not None for record in records):
        detail = f"{len(turns)} messages, none of them an assistant's"
        problem = NotAssessed(reason="no_assistant_turn", detail=detail)
        records.append(Unreadable(origin=origin, problem=problem))
    for record in records:
        turn = record.origin.turn
        own = f"{name}#{turn}" if turn is not None and len(records) > 1 else name
        yield record.model_copy(update={"id": own})


def reasoning_tokens(usage: object) -> int:
    """Return how many tokens a model spent on reasoning, by what any API calls them; 0 if not known."""
    if isinstance(usage, list):
        return max(map(reasoning_tokens, usage), default=0)
    if not isinstance(usage, dict):
        return 0
    named = (value for name, value in usage.items() if _SPENT.search(name))
    counts = [int(value) for value in named if isinstance(value, int | float) and 0 < value < 10**12]
    return max([*counts, *(reasoning_tokens(value) for value in usage.values())], default=0)


def turns_of(row: JsonObject, name: str) -> list[object]:
    """Return the messages in a field; a cell of a table holds them as JSON.

    Raises:
        WrongType: It holds something else.
    """
    value = row.get(name)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):  # then it is refused as the text that it is
            value = json_within(value)
    if not isinstance(value, list):
        raise WrongType(name, value, "a list of messages")
    return value


@dataclass(frozen=True)
class _Row:
    """What the messages of a row have in common."""

    origin: Origin
    where: str
    model: object
    metadata: dict[str, object]


def _records(row: _Row, turns: Sequence[object], tokens: int) -> Iterator[Trace | Unreadable]:
    """Yield a record for each turn of the assistant and each broken message, without ids."""
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
    """Return who speaks, in lower case."""
    name = next((name for name in _ROLES if name in message), _ROLES[0])
    role = message.get(name)
    if not isinstance(role, str):
        raise WrongType(f"{where}.{name}", role)
    return role.lower()


def _found(message: JsonObject, where: str) -> _Found:
    """Gather what the fields of a message hold, in their order of precedence."""
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
    """Sort one part of a content, or of a list of reasoning parts, into what it is."""
    if isinstance(value, str):
        found.visible.append(value)
        return
    part = _object(value, where)
    what = str(part.get("type"))
    if what in _ENCRYPTED:
        found.encrypted = True
    elif what == "reasoning.summary" or (what == "reasoning" and part.get("redacted")):
        # The readable text of a redacted part is its summary; what else it holds is encrypted.
        summary = _text(part, "summary", where) or ""
        found.encrypted, found.summarised = True, found.summarised or bool(summary)
        found.parts.append(Part(f"{source}:summary", summary))
    elif part.get("thought") is True:  # of the Gemini API, which gives summaries
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
