"""Read output files of OpenAI's Batch API and compatible servers: one reply per row, without its request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from .calls import call, unanswered
from .contract import JsonObject, name_of

__all__ = ["OpenAIBatchReader"]


class OpenAIBatchReader:
    """Reads rows with a `custom_id`, and with a completion or a Responses API reply in `response.body`."""

    name = "openai-batch"
    description = "output of OpenAI's Batch API; the requests are in another file"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("response.body.choices[].message", "response.body.output[]"),
        "reasoning": ("as in openai-chat and openai-responses",),
        "model": ("response.body.model",),
        "id": ("custom_id", "id"),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has a `custom_id`, and a response with a body or an error instead."""
        response = row.get("response")
        return "custom_id" in row and (
            (isinstance(response, dict) and "body" in response)
            or ("response" in row and response is None and "error" in row)
        )

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each choice, or one `Unreadable` for an error."""
        name = name_of(row, ("custom_id", "id"), origin)
        response = row.get("response")
        body = response.get("body") if isinstance(response, dict) else None
        if not isinstance(body, dict) or body.get("error"):
            yield unanswered(name, origin, "the request failed: there is no reply")
            return
        yield from call(None, body, origin, name=name, model=body.get("model"))
