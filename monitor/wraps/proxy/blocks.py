"""Streams of Anthropic's Messages API: events about blocks, ended by `message_stop`."""

from __future__ import annotations

from collections.abc import Collection

from ..answers import Json
from ..sse import Event, encode
from .events import TypedWire, kind_of, opened
from .wire import BROKE, Ending

__all__ = ["BlockWire"]


class BlockWire(TypedWire):
    """Writes the events of one message."""

    ends = ("message_stop", "error")

    def __init__(self) -> None:
        self._open: int | None = None

    def see(self, payload: Json) -> None:
        """Take note of which block is open."""
        kind, index = kind_of(payload), payload.get("index")
        if kind == "content_block_start" and isinstance(index, int):
            self._open = index
        elif kind == "content_block_stop":
            self._open = None

    def is_end(self, event: Event) -> bool:
        """Whether an event ends the message, or is an error."""
        self.complete |= kind_of(event.payload or {}) == "message_stop"
        return super().is_end(event)

    def stop(self, choices: Collection[int]) -> list[Json]:
        """Return the events that end the message."""
        if not choices:
            return []
        events: list[Json] = []
        if self._open is not None:
            events.append({"type": "content_block_stop", "index": self._open})
        end = {"stop_reason": "refusal", "stop_sequence": None}
        delta = {"type": "message_delta", "delta": end, "usage": {"output_tokens": 0}}
        return [*events, delta, {"type": "message_stop"}]

    def finale(self, last: Json | None, ending: Ending) -> bytes:
        """Return the event that ends the message, or the error that did, with the verdicts."""
        if last is None or ending.broken is not None:
            error = {"type": "api_error", "message": ending.broken or BROKE}
            last = {"type": "error", "error": error}
        return encode(f'{opened(last)}"undertow":{ending.verdicts.json}}}', kind_of(last))
