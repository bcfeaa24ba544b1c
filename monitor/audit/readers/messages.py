"""Read conversations saved as lists of messages; each assistant turn becomes one trace.

The reasoning of a message may be in fields of its own, in parts of its content, or between tags in its
text (monitor/message.py). All are read, and `Trace.reasoning_from` names those that held it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...message import FIELDS, LISTS, Contents, contents_of, joined, reasoning_tokens
from ...trace import NotAssessed, Origin, Trace, Unreadable
from ..files import json_within
from .channels import assemble
from .contract import JsonObject, WrongType, name_of

__all__ = ["IDS", "MessagesReader", "conversation", "turns_of"]

_ROLES, _CONTENTS = ("role", "from"), ("content", "value", "parts")
_ASSISTANT = frozenset({"assistant", "gpt", "model", "chatgpt", "bot", "ai"})
_USER = frozenset({"user", "human"})

IDS = ("id", "uuid", "uid", "conversation_id", "trace_id", "sample_id", "custom_id")
_NAMES: Mapping[str, Sequence[str]] = {
    "reasoning": (*FIELDS, *LISTS, "content[].thinking", "content[].reasoning", "tags in the text"),
    "model": ("model",),
    "id": IDS,
}


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


def _trace(found: Contents, prompt: str, model: str | None, origin: Origin, tokens: int) -> Trace:
    channels = assemble(found.parts, joined([*found.visible, found.refusal]), model=model)
    found.tokens = tokens
    return Trace(
        prompt=prompt,
        reasoning=channels.reasoning,
        answer=channels.answer,
        model=model,
        reasoning_from=channels.reasoning_from,
        truncated=channels.truncated,
        caveat=found.caveat(model, reasoned=channels.reasoning is not None),
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


def _found(message: JsonObject, where: str) -> Contents:
    """Return the contents of a message.

    Raises:
        WrongType: A field holds something else than it should.
    """
    found = contents_of(message, _CONTENTS)
    for name, value, expected in found.odd:
        raise WrongType(f"{where}.{name}", value, expected)
    return found
