"""Read Langfuse exports: observations, alone or within their traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from ..plain import plain
from .calls import call, renumbered, unanswered
from .contract import JsonObject, name_of

__all__ = ["LangfuseReader"]


class LangfuseReader:
    """Reads observations of type GENERATION, with the field names of `langfuse.api` in camel or snake case.

    Observations of other types are not model calls.
    """

    name = "langfuse"
    description = "Langfuse exports: observations of type GENERATION, alone or within their traces"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("output", "observations[].output"),
        "prompt": ("input", "observations[].input"),
        "reasoning": ("as in openai-chat, openai-responses and anthropic",),
        "model": ("model", "providedModelName"),
        "id": ("id",),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row is an observation, or a trace that contains observations."""
        return _is_observation(row) or _within(row) is not None

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each generation, or one `Unreadable` if there is none."""
        found = _within(row)
        inside = [row] if found is None else [one for one in found if isinstance(one, dict)]
        calls = [one for one in inside if one.get("type") == "GENERATION"]
        if not calls:
            kinds = ", ".join(sorted({plain(str(one.get("type")), 20) for one in inside})) or "none"
            detail = f"no observation of type GENERATION; the types in the row: {kinds}"
            yield unanswered(name_of(row, ("id",), origin), origin, detail)
            return
        yield from renumbered(record for one in calls for record in _records(one, origin))


def _records(row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
    own = ("traceId", "trace_id", "name", "metadata", "environment", "sessionId", "session_id")
    return call(
        row.get("input"),
        row.get("output"),
        origin,
        name=name_of(row, ("id",), origin),
        model=row.get("model") or row.get("providedModelName"),
        usage=[row.get("usageDetails"), row.get("usage_details"), row.get("usage")],
        metadata={key: row[key] for key in own if row.get(key) is not None},
    )


def _is_observation(row: JsonObject) -> bool:
    kind = row.get("type")
    traced = "traceId" in row or "trace_id" in row
    return traced and isinstance(kind, str) and kind.isupper() and ("input" in row or "output" in row)


def _within(row: JsonObject) -> list[object] | None:
    inside = row.get("observations")
    if not isinstance(inside, list) or not inside:
        return None
    whole = all(isinstance(one, dict) and _is_observation(one) for one in inside)
    return inside if whole else None
