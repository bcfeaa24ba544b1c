"""The Anthropic library's clients: thinking blocks and texts of the Messages API.

    client = undertow.wrap(Anthropic(), policy="stop")
    message = client.messages.create(model=…, max_tokens=…, messages=…)
    message.undertow.flagged

The wrapped client is a copy; the original is unchanged. A message that the policy ends has the
stop reason `refusal`, which the API itself uses when its own classifiers intervene.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..monitor import Monitor
from ..policy import Policy
from ..profiles import AUTO
from .answers import Answer, Asked
from .messages import MessagesAnswer
from .stainless import Library, wrapped_client

__all__ = ["wrap_object"]


def wrap_object(x: Any, monitor: Monitor, policy: Policy, *, profile: str = AUTO) -> Any:
    """Return a copy of a client that judges its responses.

    Args:
        x: an `Anthropic` or `AsyncAnthropic` client, or one of their subclasses.
        monitor: the monitor that judges.
        policy: what happens at the alarm.
        profile: how the model marks reasoning inside text, outside thinking blocks.

    Raises:
        UsageError: the object is not a client, or there is no such profile.
        MissingExtra: the library is not installed.
    """
    return wrapped_client(x, Library("anthropic", "Anthropic", _events, _route), monitor, policy, profile)


def _route(route: str) -> Callable[[Asked], Answer] | None:
    return MessagesAnswer if route.startswith("POST ") and route.endswith("/messages") else None


def _events() -> Any:
    from anthropic.types import RawMessageStreamEvent

    return RawMessageStreamEvent
