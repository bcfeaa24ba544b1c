"""Read completions as sent by an OpenAI-compatible server (OpenAI, vLLM, SGLang, …)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from .calls import call
from .contract import JsonObject, name_of

__all__ = ["OpenAICompletionReader"]


class OpenAICompletionReader:
    """Reads the `choices` of a row, or of its `response` or `completion`, with the request beside them."""

    name = "openai-completion"
    description = "replies of an OpenAI-compatible server (OpenAI, vLLM, SGLang); one trace per choice"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("choices[].message", "choices[].text", "response.choices[]", "completion.choices[]"),
        "prompt": ("messages", "prompt", "request.messages"),
        "reasoning": ("as in openai-chat",),
        "model": ("model",),
        "id": ("id", "request_id"),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row, or a response within it, has a list of choices."""
        return _completion(row) is not None

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each choice."""
        reply = _completion(row) or {}
        asked = next((row[part] for part in ("messages", "prompt", "request") if row.get(part)), None)
        own = {key: value for key, value in row.items() if key not in ("choices", "response", "messages")}
        yield from call(
            asked,
            reply,
            origin,
            name=name_of({**reply, **row}, ("id", "request_id"), origin),
            model=reply.get("model") or row.get("model"),
            metadata=own,
        )


def _completion(row: JsonObject) -> JsonObject | None:
    holders = (row, row.get("response"), row.get("completion"))
    return next((h for h in holders if isinstance(h, dict) and isinstance(h.get("choices"), list)), None)
