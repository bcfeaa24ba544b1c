"""One answer of an API on its way to the caller, judged: what all wraps of APIs have in common.

Nothing here talks to a network or knows a client library: payloads come in, payloads go out.
Where the policy holds nothing back they are the same objects, at once; where it does, the texts in
them wait for their judgement, and the payloads are JSON objects made anew.

A payload of a shape that no API documents is nothing to fail on: it goes on as it is, and the
verdict says that it was not judged; where the policy is closed, the answer ends there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..gate import Piece
from ..trace import NotAssessed
from ..verdict import StepVerdict, TraceVerdict
from .choices import Asked, Choices, asked_of
from .dialects import Part, Reader, Text, get

__all__ = ["CUT_SHORT", "Answer", "Asked", "Json", "Out", "asked_of", "chief", "qualified"]

Json = dict[str, Any]

CUT_SHORT = NotAssessed(reason="truncated", detail="the answer broke off before its end")


@dataclass(frozen=True)
class Out:
    """A payload that may leave, and what is said with it."""

    payload: Any
    """As it came, or a JSON object made anew."""
    verdict: TraceVerdict | None = None
    """At the end of a choice."""
    alarm: StepVerdict | None = None
    """Under the policy `flag`: the step at which the alarm went, in this payload."""


class Answer(Choices, ABC):
    """Judges one answer, whose choices each have a gate. Subclasses know how an API's payloads go."""

    reads: Callable[[str], Reader]
    """Makes what reads the API's payloads, for a profile."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(asked)
        self.reader = self.reads(asked.profile)
        self.verdicts: dict[int, TraceVerdict] = {}
        """Each choice's verdict, once the answer has ended."""
        self.ended: set[int] = set()
        """The choices that the policy has ended."""
        self._late: list[Any] = []
        self._finished: set[int] = set()

    @property
    def over(self) -> bool:
        """Whether the policy has ended all that was asked for: the upstream can be closed."""
        return len(self.ended) >= self.asked.choices

    def read(self, payload: Any) -> list[Text]:
        """Return the texts in a payload; each payload is read once."""
        try:
            return self._read(payload)
        except Exception:  # whatever a provider may send, the caller's call does not fail on it
            self.reader.unread()
            return []

    def _read(self, payload: Any) -> list[Text]:
        if get(payload, "id"):
            self._seen = payload
        return self.reader.texts(payload)

    def take(self, payload: Any, texts: list[Text]) -> list[Out]:
        """Take a payload and the texts in it; return what may leave now."""
        outs: list[Out] = []
        try:
            for choice, pieces in self._refuse().items():
                outs += [Out(said) for said in self._spoken(choice, pieces)]
                self._finish(choice)
            if self.asked.holds:
                outs += [Out(let) for let in self._hold(payload, texts)]
            else:
                outs += self._pass(payload, texts)
        except Exception as problem:
            if problem is self._callback.raised:
                raise
            outs += self._odd(payload)
        if self.alarms and outs:
            outs[-1] = replace(outs[-1], alarm=self.alarms.pop(0))
        return outs

    def whole(self, payload: Any) -> Any:
        """Judge an answer that came whole; return it, without what may not leave."""
        try:
            payload = self._whole(payload)
        except Exception as problem:
            if problem is self._callback.raised:
                raise
            self._shut()
        if not self.verdicts:
            self._close()
        return self._empty(payload) if self._refused else payload

    def _odd(self, payload: Any) -> list[Out]:
        """Return what may leave of a payload that could not be dealt with."""
        for choice in self._shut():
            self._finish(choice)
        return [] if self._refused else [Out(payload)]

    def _shut(self) -> dict[int, list[Piece]]:
        """Take note that a payload could not be dealt with; where it may hold what was flagged, all ends."""
        self.reader.unread()
        ended = self._refuse()
        if any(gate.flagged and self.asked.acts for gate in self.gates.values()):
            self._refused |= set(self.gates)
        return ended

    def _refuse(self) -> dict[int, list[Piece]]:
        """Tell the gates what could not be read; return the choices that end by that, and their rest."""
        odd = self.reader.odd()
        ended: dict[int, list[Piece]] = {}
        for choice in {0, *self.gates} if None in odd else {choice for choice in odd if choice is not None}:
            before = self.cut(choice)
            pieces = self.let(choice, self.gate(choice).refuse("a part of the answer is no text"))
            if self.cut(choice) and not before:
                ended[choice] = pieces
            if self.cut(choice) and self.asked.closed:
                self._refused.add(choice)
        return ended

    def _finish(self, choice: int) -> None:
        """End a choice that the policy has ended, as a stream."""
        self.ended.add(choice)
        self._late = [payload for payload in self._late if not self._ends(payload, choice)]
        self._late += self._ending(choice)

    def end(self, *, cut_short: bool = False) -> list[Out]:
        """End the answer; return the rest, with the verdicts.

        Args:
            cut_short: the upstream broke off, or the caller went away.
        """
        if self.verdicts:
            return []
        before = set(self.ended)
        rest = self._close(cut_short=cut_short)
        for choice in sorted(self.ended - before):
            self._finish(choice)
        left = [Out(payload) for choice in rest for payload in self._spoken(choice, rest[choice])]
        last = list(self._finale())
        if self.alarms and last:
            last[-1] = replace(last[-1], alarm=self.alarms.pop(0))
        return [*left, *last]

    def _close(self, *, cut_short: bool = False) -> dict[int, list[Piece]]:
        """Close the gates; return what may leave of each choice by that."""
        if not self.gates:
            self.gate(0)
        rest = {choice: self.let(choice, gate.close()) for choice, gate in self.gates.items()}
        for choice, gate in self.gates.items():
            assert gate.verdict is not None
            if self.cut(choice):
                self.ended.add(choice)
            short = cut_short or choice not in self._finished | self.ended
            self.verdicts[choice] = qualified(
                gate.verdict, self.reader.caveat(choice), CUT_SHORT if short else None
            )
        return rest

    @abstractmethod
    def _whole(self, payload: Any) -> Any:
        """Judge an answer that came whole; return it, without what may not leave."""

    @abstractmethod
    def _empty(self, payload: Any) -> Json:
        """Return an answer that came whole, without what could not be read."""

    def _by_part(self, texts: Iterable[Text], part: Part) -> Iterator[tuple[Part, list[Piece]]]:
        """Judge texts that came whole, and yield with each part, from the first on, what may leave of it."""
        self._refuse()
        for text in texts:
            if self.cut(0):
                break
            if text.part != part:
                yield part, self.pause(0)
            part = text.part
            yield part, self.feed(text)
        yield part, self._close().get(0, [])

    def _pass(self, payload: Any, texts: list[Text]) -> Iterator[Out]:
        """Let a payload through as it is; judge the texts in it."""
        for text in texts:
            self.feed(text)
        if self._last(payload):
            self._late.append(payload)
        else:
            yield Out(payload)

    @abstractmethod
    def _last(self, payload: Any) -> bool:
        """Whether a payload belongs to the end of the answer, and waits for the verdict."""

    @abstractmethod
    def _hold(self, payload: Json, texts: list[Text]) -> Iterator[Json]:
        """Yield the payloads that may leave, with the texts that may."""

    @abstractmethod
    def _ending(self, choice: int) -> list[Json]:
        """Return the payloads that end a choice which the policy has ended."""

    @abstractmethod
    def _ends(self, payload: Any, choice: int) -> bool:
        """Whether a payload that waits ends a choice."""

    @abstractmethod
    def _spoken(self, choice: int, pieces: Iterable[Piece]) -> Iterator[Json]:
        """Yield payloads that say these texts."""

    @abstractmethod
    def _finale(self) -> Iterator[Out]:
        """Yield the payloads that waited for the end, with the verdicts."""


def qualified(
    verdict: TraceVerdict, caveat: NotAssessed | None, short: NotAssessed | None = None
) -> TraceVerdict:
    """Return a verdict that says what kept it from being full.

    Args:
        verdict: as the gate gave it.
        caveat: what the provider kept from us; it comes before all other reasons.
        short: that the answer broke off; said where nothing else is wrong.
    """
    problem = caveat or (short if verdict.assessed == "full" else None)
    if problem is None:
        return verdict
    assessed = "none" if verdict.assessed == "none" else "partial"
    return verdict.model_copy(update={"assessed": assessed, "not_assessed": problem, "quadrant": None})


def chief(verdicts: Mapping[int, TraceVerdict]) -> TraceVerdict:
    """Return the verdict that matters most: flagged before not judged before the rest; then the riskiest."""
    return max(verdicts.values(), key=lambda v: (v.flagged is True, v.assessed != "full", v.risk or 0.0))
