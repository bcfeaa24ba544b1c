"""Read saved replies of the Gemini API, spelled as in its JSON or in its Python client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from ...trace import Origin, Trace, Unreadable
from .calls import call
from .contract import JsonObject, name_of
from .messages import conversation

__all__ = ["GeminiReader"]


class GeminiReader:
    """Reads a reply that is the row itself or its `response` (as in batches), or a list of `contents`.

    Thoughts are a summary: the API does not return the model's actual reasoning.
    """

    name = "gemini"
    description = "replies of the Gemini API, lines of its batches, and conversations of its contents"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("candidates[].content.parts[]", "response.candidates[]"),
        "conversation": ("contents",),
        "prompt": ("contents", "request.contents"),
        "reasoning": ("parts[].text where thought is true",),
        "model": ("modelVersion", "model_version", "model"),
        "id": ("key", "responseId", "response_id", "id"),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has candidates, prompt feedback, or turns that consist of parts."""
        return _reply(row) is not None or bool(_turns(row))

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each candidate, or for each turn of the model."""
        reply = _reply(row)
        held = {**(reply or {}), **row}
        name = name_of(held, self.fields["id"], origin)
        model = next((held[key] for key in self.fields["model"] if held.get(key)), None)
        if reply is None:
            yield from conversation(_turns(row), origin, where="contents", name=name, model=model)
            return
        asked = row.get("contents") or row.get("request")
        usage = reply.get("usageMetadata") or reply.get("usage_metadata")
        yield from call(asked, _messages(reply), origin, name=name, model=model, usage=usage)


def _reply(row: JsonObject) -> JsonObject | None:
    for holder in (row, row.get("response")):
        if isinstance(holder, dict) and any(map(_is_candidate, _listed(holder, "candidates"))):
            return holder
        if isinstance(holder, dict) and ("promptFeedback" in holder or "prompt_feedback" in holder):
            return holder
    return None


def _is_candidate(value: object) -> bool:
    ends = ("finishReason", "finish_reason")
    return isinstance(value, dict) and (
        isinstance(value.get("content"), dict) or any(e in value for e in ends)
    )


def _messages(reply: JsonObject) -> list[object]:
    """Return the content of each candidate as a message; blocked candidates have none."""
    contents = [one.get("content") for one in _listed(reply, "candidates") if isinstance(one, dict)]
    return [{**said, "role": "model"} for said in contents if isinstance(said, dict) and said.get("parts")]


def _turns(row: JsonObject) -> list[object]:
    turns = _listed(row, "contents")
    return turns if any(isinstance(turn, dict) and "parts" in turn for turn in turns) else []


def _listed(holder: JsonObject, name: str) -> list[object]:
    value = holder.get(name)
    return value if isinstance(value, list) else []
