"""What the proxy needs to know of an API beyond its texts: how its streams are written, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..answers import Json
from ..sse import Event
from .verdicts import Verdicts

__all__ = ["BROKE", "Ending", "Wire", "error_json"]

BROKE = "the server behind undertow closed the connection before the answer's end"


@dataclass(frozen=True)
class Ending:
    """How a stream ends."""

    verdicts: Verdicts
    last: Event | None
    """The event with which upstream ended it, where one did."""
    broken: str | None = None
    """A sentence on what broke it off."""


class Wire(Protocol):
    """One API. An instance follows one stream."""

    tells_again: bool
    """Whether the event that ends a stream repeats its text, or says what was not streamed."""

    def see(self, payload: Json) -> None:
        """Take note of an event: of what its answer is called, and of how far it is."""

    def is_end(self, event: Event) -> bool:
        """Whether an event ends its stream, well or not."""

    @property
    def complete(self) -> bool:
        """Whether the answer has ended by itself."""

    def write(self, payload: Json) -> bytes:
        """Return a payload as an event."""

    def mark(self, note: str) -> bytes:
        """Return an event that says something of ours in the midst of a stream, given as JSON."""

    def end(self, rest: Sequence[Json], ending: Ending) -> bytes:
        """Return the events that end the stream: what is left of it, and the verdicts."""


def error_json(message: str) -> Json:
    """Return an error of ours in the shape that OpenAI's clients know."""
    return {"message": message, "type": "undertow_proxy_error", "param": None, "code": "upstream_broke"}
