"""Extract the request and the reply of a logged model call, in the shapes of the common APIs.

Only the reply is judged. The assistant turns in the request were replies to earlier calls, which have
rows of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...message import reasoning_tokens
from ...trace import NotAssessed, Origin, Trace, Unreadable
from ..files import json_within
from .contract import JsonObject
from .messages import conversation

__all__ = ["call", "choices", "question", "renumbered", "replies", "response_message", "unanswered"]

_HOLDERS = ("messages", "message", "output", "outputs", "response", "text", "completion", "result")
_QUESTIONS = (
    "messages",
    "contents",
    "input",
    "inputs",
    "prompt",
    "question",
    "query",
    "kwargs",
    "request",
    "body",
)
_LANGCHAIN = {"ai": "assistant", "aimessage": "assistant", "aimessagechunk": "assistant",
              "human": "user", "humanmessage": "user", "system": "system", "systemmessage": "system",
              "tool": "tool", "toolmessage": "tool"}  # fmt: skip
_DEEP = 8


def call(
    asked: object,
    got: object,
    origin: Origin,
    *,
    name: str,
    model: object = None,
    usage: object = None,
    metadata: Mapping[str, object] | None = None,
) -> Iterator[Trace | Unreadable]:
    """Yield a record for each reply to a request, or one `Unreadable` if there is no reply.

    Args:
        asked: The request: a text, messages, or an object that contains them.
        got: One or several replies, in any shape that `replies` supports.
        origin: Where the row was read.
        name: The id of the row.
        model: The model's name.
        usage: The token usage as reported by the API.
        metadata: Other fields of the row.
    """
    answers = list(replies(got))
    tokens = reasoning_tokens(usage)
    if not answers:
        yield unanswered(name, origin, "the row contains no reply of a model")
        return
    turns = [{"role": "user", "content": question(asked) or ""}, *answers]
    yield from conversation(
        turns, origin, where="reply", name=name, model=model, metadata=metadata, tokens=tokens
    )


def renumbered(records: Iterable[Trace | Unreadable]) -> Iterator[Trace | Unreadable]:
    """Number the turns of a row consecutively across its calls, so that each origin is unique."""
    for turn, record in enumerate(records):
        yield record.model_copy(update={"origin": record.origin.model_copy(update={"turn": turn})})


def unanswered(name: str, origin: Origin, detail: str) -> Unreadable:
    """Return the record of a row without a reply."""
    return Unreadable(id=name, origin=origin, problem=NotAssessed(reason="no_assistant_turn", detail=detail))


def replies(value: object, depth: int = 0) -> Iterator[JsonObject]:
    """Yield the assistant messages in a reply, whichever API returned it."""
    value = _parsed(value)
    if isinstance(value, str):
        if value.strip():
            yield {"role": "assistant", "content": value}
    elif isinstance(value, list):
        yield from _listed(value, depth)
    elif isinstance(value, dict) and depth < _DEEP:
        message = langchain(value) or value
        generations = message.get("generations")
        if isinstance(message.get("choices"), list):
            yield from choices(message)
        elif isinstance(generations, list):
            yield from replies([_generated(one) for one in _flat(generations)], depth + 1)
        elif _is_response(message):
            yield response_message(message)
        elif str(message.get("role", "")).lower() in ("assistant", "ai", "model"):
            yield message
        elif "role" not in message and "content" in message:
            yield {"role": "assistant", **message}
        elif "role" not in message:
            held = next((message[name] for name in _HOLDERS if message.get(name)), None)
            yield from replies(held, depth + 1)


def _listed(value: list[object], depth: int) -> Iterator[JsonObject]:
    """Yield the replies in a list of content blocks, or of messages (those after the last user turn)."""
    if value and all(isinstance(part, dict) and _is_block(part) for part in value):
        yield {"role": "assistant", "content": value}
    elif depth < _DEEP:
        asked = [index for index, part in enumerate(value) if question([part]) is not None]
        for part in value[asked[-1] + 1 if asked else 0 :]:
            yield from replies(part, depth + 1)


def _is_block(part: JsonObject) -> bool:
    return "type" in part and "role" not in part and langchain(part) is None


def choices(value: JsonObject) -> Iterator[JsonObject]:
    """Yield the message of each choice; a raw text becomes a message, with any reasoning beside it."""
    listed = value.get("choices")
    for choice in listed if isinstance(listed, list) else []:
        if isinstance(choice, dict):
            message = choice.get("message", choice.get("text"))
            beside = {name: value for name, value in choice.items() if name.startswith("reasoning")}
            own = message if isinstance(message, dict) else {"content": message, **beside}
            yield {"role": "assistant", "usage": value.get("usage"), **own}


def response_message(response: JsonObject) -> JsonObject:
    """Combine the output items of an OpenAI response into one message."""
    parts: list[object] = []
    items = response.get("output")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and item.get("type") == "reasoning":
            parts += _thoughts(item)
        elif isinstance(item, dict) and item.get("type") == "message":
            content = item.get("content")
            parts += content if isinstance(content, list) else [content]
    said = {name: response.get(name) for name in ("model", "usage")}
    return {"role": "assistant", "content": parts, **said}


def _thoughts(item: JsonObject) -> list[object]:
    """Return the texts of a reasoning item as parts; as summaries if it holds nothing else."""
    spelt, short = _texts(item.get("content")), _texts(item.get("summary"))
    if any(spelt):
        return [{"type": "reasoning", "text": text} for text in (*short, *spelt)]
    found: list[object] = [{"type": "reasoning.summary", "summary": text} for text in short]
    return found or [{"type": "reasoning.encrypted"}]


def _texts(parts: object) -> list[object]:
    listed = parts if isinstance(parts, list) else []
    return [part.get("text") for part in listed if isinstance(part, dict)]


def question(value: object, depth: int = 0) -> object:
    """Return the content of the last user turn of a request (a text or a list of parts), or None."""
    value = _parsed(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        turns = [langchain(turn) or turn for turn in _flat(value) if isinstance(turn, dict)]
        users = [turn for turn in turns if str(turn.get("role", "")).lower() in ("user", "human")]
        return (users[-1].get("content") or users[-1].get("parts")) if users else None
    if isinstance(value, dict) and depth < _DEEP:
        if str(value.get("role", "")).lower() == "user":
            return value.get("content")
        held = next((value[name] for name in _QUESTIONS if value.get(name)), None)
        return question(held, depth + 1)
    return None


def langchain(message: JsonObject) -> JsonObject | None:
    """Convert a LangChain message to a plain message; return None for anything else."""
    inner = message.get("kwargs") if message.get("type") == "constructor" else message.get("data", message)
    names = message.get("id")
    kind = names[-1] if isinstance(names, list) and names and "kwargs" in message else message.get("type")
    role = _LANGCHAIN.get(str(kind).lower())
    if role is None or not isinstance(inner, dict) or "content" not in inner:
        return None
    extra, meta = inner.get("additional_kwargs"), inner.get("response_metadata")
    own = {key: value for key, value in (extra.items() if isinstance(extra, dict) else ()) if "reason" in key}
    model = meta.get("model_name") or meta.get("model") if isinstance(meta, dict) else None
    usage = inner.get("usage_metadata")
    return {"role": role, "content": inner["content"], "model": model, "usage": usage, **own}


def _generated(generation: object) -> object:
    """Return the message of a LangChain generation, or else its text."""
    if not isinstance(generation, dict):
        return generation
    return generation.get("message") or generation.get("text")


def _is_response(value: JsonObject) -> bool:
    items = value.get("output")
    return value.get("object") == "response" or (
        isinstance(items, list)
        and any(isinstance(item, dict) and item.get("type") in ("reasoning", "message") for item in items)
    )


def _flat(value: list[object]) -> list[object]:
    """Flatten a list by one level: LangChain saves messages in batches."""
    return [part for inner in value for part in (inner if isinstance(inner, list) else [inner])]


def _parsed(value: object) -> object:
    """Decode JSON that an export saved as text; return any other value unchanged."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        inner = json_within(value)
    except (ValueError, RecursionError):
        return value
    known = inner if isinstance(inner, dict) else next(iter(_flat(inner)), None)
    shaped = isinstance(known, dict) and not {"role", "choices", "messages", "content", "output"}.isdisjoint(
        known
    )
    return inner if shaped else value
