"""Read LiteLLM logs: the standard logging payload, and the spend logs of its proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from .calls import call, unanswered
from .contract import JsonObject, name_of

__all__ = ["LiteLLMReader"]

_OWN = ("litellm_call_id", "custom_llm_provider", "model_map_information", "hidden_params", "spend")


class LiteLLMReader:
    """Reads logged calls, with the field names of `litellm.types.utils.StandardLoggingPayload`."""

    name = "litellm"
    description = "LiteLLM's standard logging payload and spend logs; the reply of each call"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("response.choices[].message", "response.output[]", "response"),
        "prompt": ("messages",),
        "reasoning": ("as in openai-chat and openai-responses",),
        "model": ("model",),
        "id": ("id", "litellm_call_id", "request_id"),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row is a logged call."""
        return "call_type" in row and "response" in row and any(name in row for name in _OWN)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each choice, or one `Unreadable` for a failed call."""
        name = name_of(row, ("id", "litellm_call_id", "request_id"), origin)
        if row.get("status") == "failure":
            yield unanswered(name, origin, "the call failed: there is no reply")
            return
        asked = row.get("messages") or row.get("proxy_server_request")
        own = {key: row[key] for key in ("trace_id", "model_group", "request_tags", "end_user") if key in row}
        usage = {"usage": row.get("usage"), "metadata": row.get("metadata")}
        yield from call(
            asked, row.get("response"), origin, name=name, model=row.get("model"), usage=usage, metadata=own
        )
