"""Write the content of LangChain's messages: put a judged text back into blocks like the model's own.

A content is a text, or a list of texts and blocks, whose forms differ by provider. Reasoning may be in a list
(OpenAI's `summary` and `content`) or in a block of its own (Bedrock's `reasoning_content`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..message import contents_of
from .answers import Json

__all__ = ["Near", "near", "unsaid", "written"]

Near: TypeAlias = Mapping[str, Any]
"""A model's own blocks or plain texts, by the type that the judged content gives them."""

_SPELT = ("reasoning", "thinking", "reasoning_content", "text", "refusal", "content", "summary")
"""The fields of a block that may hold its text."""
_SIGNED = ("signature", "encrypted_content", "redacted_content")
"""Fields that belong to the original text and are dropped when another text replaces it."""


def _kind(part: Any) -> str | None:
    """Return the type that the judged content gives a part; None if the part holds no text."""
    found = contents_of({"content": [part]})
    if found.parts:
        return found.parts[0].source.partition(":")[2]
    return "text" if any(found.visible) else None


def near(content: Any) -> dict[str, Any]:
    """Return the first part of each type in a content."""
    parts: Sequence[Any] = content if isinstance(content, list) else ()
    return {kind: part for part in reversed(parts) if (kind := _kind(part)) is not None}


def written(content: Any, like: Near) -> Any:
    """Return a judged content in the model's own form: text, or blocks like the model's own."""
    if isinstance(content, str):
        return [_written("text", content, like)] if content and "text" in like else content
    return [_put(part, like) for part in content]


def _put(part: Json, like: Near) -> Any:
    what = part["type"]
    said = part.get(what)
    if isinstance(said, list):
        said = "".join(one["text"] for one in said)
    return part if said is None else _written("thought" if part.get("thought") else what, said, like)


def _written(what: str, said: str, like: Near) -> Any:
    """Return a part of a content with the text `said`."""
    own = like.get(what, {})
    if isinstance(own, str):
        return said
    name = next((name for name in _SPELT if own.get(name)), what)
    block = {"type": what, **_without(own, (*_SIGNED, *_SPELT))}
    inner = own.get(name)
    if isinstance(inner, Mapping):
        block[name] = {**_without(inner, _SIGNED), "text": said}
    elif isinstance(inner, list):
        first = next((item for item in inner if isinstance(item, dict)), {})
        block[name] = [{**first, "text": said}]
    else:
        block[name] = said
    return block


def _without(block: Mapping[str, Any], names: Iterable[str]) -> Json:
    return {name: value for name, value in block.items() if name not in names}


def unsaid(content: Any) -> Any:
    """Return a content without its text."""
    if not isinstance(content, list):
        return ""
    return [part for part in content if isinstance(part, dict) and _kind(part) is None]
