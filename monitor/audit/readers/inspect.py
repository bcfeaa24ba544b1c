"""Read samples of Inspect logs, and the transcripts that Inspect Scout stores in Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...message import reasoning_tokens
from ...trace import Origin, Trace, Unreadable
from .contract import JsonObject, name_of
from .messages import conversation, turns_of

__all__ = ["InspectReader", "ScoutReader"]

_FIELDS: Mapping[str, Sequence[str]] = {
    "conversation": ("messages",),
    "reasoning": ("content[].reasoning", "content[].summary where redacted", "tags in the text"),
    "model": ("messages[].model", "model"),
}


class InspectReader:
    """Reads samples; `monitor/audit/containers/inspect_log.py` reads the log itself with inspect_ai."""

    name = "inspect"
    description = "samples of Inspect's logs (.eval, .json); one trace per assistant turn"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {**_FIELDS, "id": ("id and epoch",)}

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row is a sample, with messages and an epoch."""
        return "epoch" in row and "messages" in row and ("input" in row or "target" in row)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each turn of the assistant."""
        turns = turns_of(row, "messages")
        epoch = row.get("epoch")
        own = name_of(row, ("id", "uuid"), origin)
        output = row.get("output")
        return conversation(
            turns,
            origin,
            where="messages",
            name=own if epoch in (None, 1) else f"{own}@{epoch}",
            model=row.get("model"),
            metadata={key: row[key] for key in ("epoch", "target", "metadata", "scores") if key in row},
            tokens=reasoning_tokens(output.get("usage")) if isinstance(output, dict) else 0,
        )


class ScoutReader:
    """Reads transcripts of Inspect Scout, whose messages are JSON text in a column."""

    name = "scout"
    description = "transcripts of Inspect Scout (Parquet); one trace per assistant turn"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {**_FIELDS, "id": ("transcript_id",)}

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has a transcript id, and messages or a source type."""
        return "transcript_id" in row and ("messages" in row or "source_type" in row)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each turn of the assistant."""
        turns = turns_of(row, "messages")
        own = {key: value for key, value in row.items() if key not in ("messages", "events")}
        name = name_of(row, ("transcript_id",), origin)
        return conversation(turns, origin, where="messages", name=name, model=row.get("model"), metadata=own)
