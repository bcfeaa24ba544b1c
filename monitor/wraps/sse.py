"""Server-sent events: read from bytes as they arrive, and written.

An event keeps its original bytes, so whatever need not change is passed on untouched,
including comments, ids, retry hints and unknown fields.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

__all__ = ["Event", "EventTooLong", "SseReader", "encode"]

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LINE_END = re.compile(r"\r\n|\n|\r")


class EventTooLong(Exception):
    """An event is longer than the reader's limit."""


@dataclass(frozen=True)
class Event:
    """One event, or a comment, which has no data."""

    raw: bytes
    """The bytes as received, with the blank line that ends the event."""
    data: str | None
    """Its `data` lines joined; None if it has none."""
    name: str | None = None
    """The value of its `event:` field."""

    @cached_property
    def payload(self) -> dict[str, Any] | None:
        """The JSON object in its data; None if there is none."""
        try:
            value = json.loads(self.data) if self.data else None
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    @property
    def done(self) -> bool:
        """Whether it is `[DONE]`, which ends a stream of chunks."""
        return (self.data or "").strip() == "[DONE]"

    @property
    def unreadable(self) -> bool:
        """Whether it has data that is neither a JSON object nor `[DONE]`."""
        return self.payload is None and bool((self.data or "").strip()) and not self.done


class SseReader:
    """Splits a stream of bytes into events, independently of how the bytes are chunked.

    Args:
        limit: the longest event allowed, in bytes, so that an endless event cannot fill the memory.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes; return the events that they complete.

        Raises:
            EventTooLong: if an event exceeds the limit.
        """
        self._buffer += data
        ends = [match.end() for match in _BLANK_LINE.finditer(self._buffer, self._searched)]
        events = [_event(bytes(self._buffer[a:b])) for a, b in pairwise([0, *ends])]
        if ends:
            del self._buffer[: ends[-1]]
        self._searched = max(0, len(self._buffer) - 3)  # a blank line may be split between two chunks
        if len(self._buffer) > self._limit or any(len(event.raw) > self._limit for event in events):
            raise EventTooLong
        return events

    def close(self) -> list[Event]:
        """Return the event after the last blank line, if any: some servers do not end their last event.

        Data that is neither JSON nor `[DONE]` was cut off, and is left out.
        """
        rest, self._buffer = bytes(self._buffer), bytearray()
        event = _event(rest + b"\n\n")
        return [event] if event.payload is not None or event.done else []


def encode(payload: dict[str, Any] | str, name: str | None = None) -> bytes:
    """Encode an event; a payload's text stays on one line, whatever it contains."""
    data = payload if isinstance(payload, str) else json.dumps(payload, separators=(",", ":"))
    return f"event: {name}\ndata: {data}\n\n".encode() if name else f"data: {data}\n\n".encode()


def _event(raw: bytes) -> Event:
    data: list[str] = []
    name = None
    for line in _LINE_END.split(raw.decode("utf-8", "replace").removeprefix("\ufeff")):
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event" and colon:
            name = value
    return Event(raw, "\n".join(data) if data else None, name)
