"""The OpenAI library's clients, for every server that speaks its API.

    client = undertow.wrap(OpenAI(), policy="stop")
    response = client.chat.completions.create(model=…, messages=…)
    response.undertow.flagged

The wrapped client is a copy; the original is unchanged. Chat completions, text completions and
responses are judged, streamed or not, sync or async, and everything else passes through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..monitor import Monitor
from ..policy import Policy
from ..profiles import AUTO
from .answers import Answer, Asked
from .chat import ChatAnswer
from .responses import ResponsesAnswer
from .stainless import Library, wrapped_client

__all__ = ["wrap_object"]


def wrap_object(x: Any, monitor: Monitor, policy: Policy, *, profile: str = AUTO) -> Any:
    """Return a copy of a client that judges its responses.

    Args:
        x: an `OpenAI` or `AsyncOpenAI` client, or one of their subclasses, such as Azure's.
        monitor: the monitor that judges.
        policy: what happens at the alarm.
        profile: how the model marks its reasoning in text, if neither its name nor its tags show it.

    Raises:
        UsageError: the object is not a client, or there is no such profile.
        MissingExtra: the library is not installed.
    """
    return wrapped_client(x, Library("openai", "OpenAI", _events, _route), monitor, policy, profile)


_ROUTES: Mapping[str, Callable[[Asked], Answer]] = {
    r"POST .*/completions|GET .*/chat/completions/[^/]+": ChatAnswer,
    r"POST .*/responses(/[^/]+/cancel)?|GET .*/responses/[^/]+": ResponsesAnswer,
}


def _route(route: str) -> Callable[[Asked], Answer] | None:
    return next((kind for pattern, kind in _ROUTES.items() if re.fullmatch(pattern, route)), None)


def _events() -> Any:
    from openai.types.responses import ResponseStreamEvent

    return ResponseStreamEvent
