"""Read from a request what judging its response needs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..answers import Json
from ..choices import count_of
from ..dialects import prompt_of

__all__ = ["Call", "Kind", "json_object", "kind_of", "read_call"]

Kind: TypeAlias = Literal["chat", "completions", "responses", "messages"]

_ROUTES: tuple[tuple[str, Kind], ...] = (
    ("/chat/completions", "chat"),
    ("/completions", "completions"),
    ("/responses", "responses"),
    ("/messages", "messages"),
)


@dataclass(frozen=True)
class Call:
    """One request for a generation."""

    kind: Kind
    model: str | None
    prompt: str
    """The last user turn, or the raw prompt; empty if the request has several."""
    choices: int
    """How many choices the response will have."""


def kind_of(method: str, path: str) -> Kind | None:
    """Return the kind of generation that a route makes; None if its responses are not judged."""
    end = re.sub("/+", "/", path).rstrip("/").lower()
    if "/threads/" in end:  # a user writes the messages of a thread
        return None
    return next((kind for route, kind in _ROUTES if end.endswith(route)), None) if method == "POST" else None


def read_call(kind: Kind, body: bytes) -> Call:
    """Return what a request asks for; empty if the body cannot be read here (upstream may still answer)."""
    asked = json_object(body) or {}
    model = asked.get("model")
    return Call(kind, model if isinstance(model, str) else None, _prompt(asked), count_of(asked))


def json_object(body: bytes) -> Json | None:
    """Return a body as a JSON object; None if it is not one."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _prompt(asked: Json) -> str:
    try:
        return prompt_of(asked)
    except (AttributeError, TypeError):  # a shape that upstream will refuse
        return ""
