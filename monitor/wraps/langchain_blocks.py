"""Read and write the content of LangChain's messages: which blocks hold text, and how to put text back.

A content is a text, or a list of texts and blocks. Reasoning is in blocks of several forms: Anthropic's
(`thinking`), LangChain's own (`reasoning`), OpenAI's (`summary` and `content`, which are lists) and Bedrock's
(`reasoning_content`). All are read alike, and each is written back in the form that the model used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from .answers import Json
from .dialects import get, items_of

__all__ = ["Near", "kept_back", "near", "read", "unsaid", "written"]

Near: TypeAlias = Mapping[str, Any]
"""A model's own blocks or plain texts, by the kind that they are read as."""

_BEDROCK = "reasoning_content"
_KINDS = {
    "text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "reasoning": "reasoning",
    _BEDROCK: "reasoning",
}
_LISTED = ("summary", "content")
_SECRET = ("encrypted_content", "redacted_content")
_SIGNED = ("signature", *_SECRET)
"""Fields that belong to the original text and are dropped when another text replaces it."""


def _kind(part: Any) -> str | None:
    """Return the kind that a part of a content is read as; None if it holds none of the model's text."""
    if isinstance(part, str):
        return "text"
    what = part.get("type") if isinstance(part, dict) else None
    return _KINDS.get(what) if isinstance(what, str) else None


def near(content: Any) -> dict[str, Any]:
    """Return the first part of each kind in a content."""
    parts: Sequence[Any] = content if isinstance(content, list) else ()
    return {kind: part for part in reversed(parts) if (kind := _kind(part)) is not None}


def read(content: Any) -> Any:
    """Return a content in the form that the reader of chat completions expects."""
    return [_read(part) for part in content] if isinstance(content, list) else content


def _read(part: Any) -> Any:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if _kind(part) != "reasoning":
        return part
    if part["type"] == _BEDROCK:
        inner = part.get(_BEDROCK)
        said = inner.get("text") if isinstance(inner, dict) else inner
        return {"type": "reasoning", "reasoning": "" if said is None else said}
    found = [part[name] for name in _LISTED if part.get(name) is not None]
    own = part.get("reasoning")
    if not found:
        return part if own is not None else {**part, "reasoning": ""}
    whole = all(isinstance(one, list | tuple) for one in found)
    items: list[Any] = [item for one in found for item in one] if whole else [found]
    if own:
        items.insert(0, {"text": own})
    return {"type": "reasoning", "reasoning": items}


def kept_back(content: Any) -> list[Json]:
    """Return the kinds of reasoning that a provider withheld, as reasoning details of a chat completion."""
    parts: Sequence[Any] = content if isinstance(content, list) else ()
    found = (_kept_back(part) for part in parts if isinstance(part, dict))
    return [{"type": what} for what in found if what is not None]


def _kept_back(part: Json) -> str | None:
    if part.get("type") == "redacted_thinking":
        return "reasoning.encrypted"
    if _kind(part) != "reasoning":
        return None
    summed = any(isinstance(get(item, "text"), str) for item in items_of(part, "summary"))
    if summed and not part.get("content"):
        return "reasoning.summary"
    holders = (part, part.get("extras"), part.get(_BEDROCK))
    secret = any(one.get(name) for one in holders if isinstance(one, dict) for name in _SECRET)
    return "reasoning.encrypted" if secret and not _read(part)["reasoning"] else None


def written(content: Any, like: Near) -> Any:
    """Return a judged content in the model's own form: text, or blocks like the model's own."""
    if isinstance(content, str):
        return [_written("text", content, like)] if content and "text" in like else content
    return [_put(part, like) for part in content]


def _put(part: Json, like: Near) -> Any:
    what, said = part["type"], part.get(part["type"])
    if isinstance(said, list):
        said = "".join(one["text"] for one in said)
    return part if said is None else _written(what, said, like)


def _written(what: str, said: str, like: Near) -> Any:
    """Return a part of a content with the text `said`."""
    own = like.get(what, {})
    if isinstance(own, str):
        return said
    listed = next((name for name in _LISTED if own.get(name)), None) if what == "reasoning" else None
    gone = (*_SIGNED, "reasoning", *_LISTED) if what == "reasoning" else _SIGNED
    block = {name: value for name, value in own.items() if name not in gone}
    if block.get("type") == _BEDROCK:
        inner = own.get(_BEDROCK)
        block[_BEDROCK] = _without(inner, _SIGNED) | {"text": said} if isinstance(inner, dict) else said
    elif listed:
        first = next((item for item in items_of(own, listed) if isinstance(item, dict)), {})
        block[listed] = [{**first, "text": said}]
    else:
        block |= {"type": what, what: said}
    return block


def _without(block: Json, names: Iterable[str]) -> Json:
    return {name: value for name, value in block.items() if name not in names}


def unsaid(content: Any) -> Any:
    """Return a content without its text."""
    if not isinstance(content, list):
        return ""
    return [part for part in content if isinstance(part, dict) and _kind(part) is None]
