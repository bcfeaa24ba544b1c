"""Two ways to pass a streamed response on: watched, or held until it is judged."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..answers import Out
from ..sse import Event
from .judge import Judged
from .wire import Ending, Wire

__all__ = ["Flow", "Held", "Watched"]


class Flow(ABC):
    """How the events of one stream are passed on."""

    def __init__(self, wire: Wire, judged: Judged) -> None:
        self.wire = wire
        self.judged = judged

    @abstractmethod
    async def take(self, events: Sequence[Event]) -> bytes:
        """Take the next events, none of which ends the stream; return the bytes to send now."""

    @abstractmethod
    async def end(self, last: Event | None, broken: str | None) -> bytes:
        """End the stream; return the remaining bytes, including the verdicts."""

    @property
    def over(self) -> bool:
        """Whether the policy has ended the generation."""
        return self.judged.answer.over

    def _judge(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.payload is not None:
                self.wire.see(event.payload)
            if event.payload is not None or event.unreadable:
                self.judged.take(event.payload, len(event.raw))

    def _mark(self, out: Out) -> bytes:
        """Return an event that reports a payload's alarm; empty if it has none."""
        if out.alarm is None:
            return b""
        return self.wire.mark(json.dumps({"flagged": True, "alarm": out.alarm.model_dump(mode="json")}))

    @property
    def _cut_short(self) -> bool:
        return not (self.wire.complete or self.over)


class Watched(Flow):
    """Passes events on at once, unchanged; they are judged in the background.

    Args:
        wire: the API's stream format.
        judged: the response being judged.
        behind: how many bytes may wait to be judged before upstream has to wait.
    """

    def __init__(self, wire: Wire, judged: Judged, behind: int) -> None:
        super().__init__(wire, judged)
        self._behind = behind

    async def take(self, events: Sequence[Event]) -> bytes:
        """Have the events judged; return them, and marks for alarms raised since the last call."""
        self._judge(events)
        if self.judged.behind > self._behind:
            await self.judged.caught_up()
        return b"".join(event.raw for event in events) + self._alarms()

    async def end(self, last: Event | None, broken: str | None) -> bytes:
        """Wait for the verdicts; return them with the last event."""
        if last is not None:
            self._judge([last])
        await self.judged.caught_up()
        verdicts = await self.judged.end(cut_short=self._cut_short)
        return self._alarms() + self.wire.end([], Ending(verdicts, last, broken))

    def _alarms(self) -> bytes:
        return b"".join(map(self._mark, self.judged.outs()))


class Held(Flow):
    """Passes on newly made events, with the text that the policy releases."""

    async def take(self, events: Sequence[Event]) -> bytes:
        """Have the events judged; return what may be sent now, and comments, which keep connections alive."""
        self._judge(events)
        comments = [event.raw for event in events if event.data is None]
        await self.judged.caught_up()
        return b"".join([*comments, *map(self._written, self.judged.outs())])

    def _written(self, out: Out) -> bytes:
        return self.wire.write(out.payload) + self._mark(out)

    async def end(self, last: Event | None, broken: str | None) -> bytes:
        """Return the remaining text that the policy releases, with the verdicts and the last event."""
        if last is not None:
            self._judge([last])
        verdicts = await self.judged.end(cut_short=self._cut_short)
        outs = self.judged.outs()
        marks = b"".join(map(self._mark, outs))
        if last is not None and last.payload is not None:  # it is one of the payloads, if it may be released
            last = None
        return marks + self.wire.end([out.payload for out in outs], Ending(verdicts, last, broken))
