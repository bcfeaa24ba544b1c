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
from functools import cached_property
from typing import Any

from ...classifiers.contract import CHANNELS, Channel
from ..gate import Gate, Piece
from ..monitor import Monitor
from ..policy import GateEvent, Policy
from ..profiles import AUTO
from ..reasoning import BLOCK_BREAK
from ..trace import NotAssessed
from ..verdict import StepVerdict, TraceVerdict
from .dialects import Part, Reader, Text, get, prompt_of

__all__ = ["CUT_SHORT", "Answer", "Asked", "Json", "Out", "asked_of", "chief", "qualified"]

Json = dict[str, Any]

CUT_SHORT = NotAssessed(reason="truncated", detail="the answer broke off before its end")


@dataclass(frozen=True)
class Asked:
    """What a call asks for, and what judges its answer."""

    monitor: Monitor
    policy: Policy
    prompt: str = ""
    raw_prompt: str = ""
    """The prompt as the model got it, where the caller wrote it so."""
    model: str | None = None
    choices: int = 1
    profile: str = AUTO
    """How the model marks its reasoning in a text."""

    @cached_property
    def holds(self) -> bool:
        """Whether text waits for its judgement in any channel."""
        return any(map(self.policy.holds, CHANNELS))

    @property
    def acts(self) -> bool:
        """Whether what is flagged is kept in, in any channel."""
        return any(map(self.policy.acts, CHANNELS))

    @property
    def closed(self) -> bool:
        """Whether what could not be judged is kept in, in any channel."""
        return any(map(self.policy.closed, CHANNELS))


def asked_of(call: Any, monitor: Monitor, policy: Policy, profile: str = AUTO) -> Asked:
    """Return what a call asks for, given the JSON object that it sends."""
    raw, model, count = get(call, "prompt"), get(call, "model"), get(call, "n")
    several = len(raw) if isinstance(raw, list) and raw and not isinstance(raw[0], int) else 1
    return Asked(
        monitor,
        policy,
        prompt=prompt_of(call),
        raw_prompt=raw if isinstance(raw, str) else "",
        model=model if isinstance(model, str) else None,
        choices=several * (count if isinstance(count, int) and count > 0 else 1),
        profile=profile,
    )


@dataclass(frozen=True)
class Out:
    """A payload that may leave, and what is said with it."""

    payload: Any
    """As it came, or a JSON object made anew."""
    verdict: TraceVerdict | None = None
    """At the end of a choice."""
    alarm: StepVerdict | None = None
    """Under the policy `flag`: the step at which the alarm went, in this payload."""


class Answer(ABC):
    """Judges one answer, whose choices each have a gate. Subclasses know how an API's payloads go."""

    blocks = False
    """Whether the API speaks in blocks; a diversion is then one of its own."""

    reads: Callable[[str], Reader]
    """Makes what reads the API's payloads, for a profile."""

    def __init__(self, asked: Asked) -> None:
        self.diversion: str | None = None
        """Where the API speaks in blocks: the answer that the policy gives instead."""
        self.asked = asked
        self.reader = self.reads(asked.profile)
        self.gates: dict[int, Gate] = {}
        self.verdicts: dict[int, TraceVerdict] = {}
        """Each choice's verdict, once the answer has ended."""
        self.ended: set[int] = set()
        """The choices that the policy has ended."""
        self._late: list[Any] = []
        self._seen: Any = {}
        self._finished: set[int] = set()
        self._parts: dict[tuple[int, bool], Part] = {}
        self._broke: set[tuple[int, Channel | None]] = set()
        self._refused: set[int] = set()
        self._fed: dict[int, list[str]] = {}
        self._let: dict[int, list[str]] = {}
        self._callback = _Told(asked.policy.callback)
        self.alarms: list[StepVerdict] = self._callback.alarms
        """Under the policy `flag`: the steps at which an alarm went, as long as nothing has said so."""

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

    def quiet(self, texts: list[Text]) -> bool:
        """Whether taking these asks the classifier nothing; True is certain."""
        if self.asked.holds:  # the end of a block is judged as well, and has no text
            return False
        return all(t.choice in self.gates and self.gates[t.choice].quiet(t.text, t.channel) for t in texts)

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

    def gate(self, choice: int) -> Gate:
        """Return the gate of a choice; opens it where it is new."""
        if choice not in self.gates:
            asked, name = self.asked, get(self._seen, "id")
            name = name if isinstance(name, str) else ""
            model = get(self._seen, "model")
            self.gates[choice] = Gate(
                asked.monitor,
                asked.policy.model_copy(update={"callback": self._callback}),
                prompt=asked.prompt,
                raw_prompt=asked.raw_prompt,
                id=name if asked.choices == 1 else f"{name}#{choice}",
                model=model if isinstance(model, str) and model else asked.model,
                profile=asked.profile,
            )
        return self.gates[choice]

    def feed(self, text: Text) -> list[Piece]:
        """Have a text judged; return what may leave by that. Blocks are kept apart, as an audit does."""
        gate = self.gate(text.choice)
        if self.cut(text.choice):
            return []
        thinks = text.channel == "reasoning"
        last = self._parts.get((text.choice, thinks))
        self._parts[text.choice, thinks] = text.part
        if last is not None and last != text.part:
            gate.feed(BLOCK_BREAK, text.channel)
            self._broke.add((text.choice, text.channel))
        if self.asked.holds:
            self._fed.setdefault(text.choice, []).append(text.text)
        return self.let(text.choice, gate.feed(text.text, text.channel))

    def let(self, choice: int, pieces: list[Piece]) -> list[Piece]:
        """Note what leaves; the break between two blocks is ours and stays."""
        if not self.asked.holds:
            return pieces
        turned = self.blocks and self.gates[choice].diverted and self.diversion is None
        if turned and pieces and pieces[-1].channel == "answer":
            self.diversion = pieces.pop().text
        kept = []
        for piece in pieces:
            text = piece.text
            if (choice, piece.channel) in self._broke:
                self._broke.discard((choice, piece.channel))
                text = text.removeprefix(BLOCK_BREAK)
            self._let.setdefault(choice, []).append(text)
            kept.append(Piece(piece.channel, text))
        return kept

    def pause(self, choice: int) -> list[Piece]:
        """Return what may leave at the end of a block."""
        return self.let(choice, self.gates[choice].pause()) if choice in self.gates else []

    def changed(self, choice: int) -> bool:
        """Whether what has left is other than what came."""
        if choice in self._refused or self.diversion is not None:
            return True
        return "".join(self._fed.get(choice, ())) != "".join(self._let.get(choice, ()))

    def cut(self, choice: int) -> bool:
        """Whether the policy has ended a choice: nothing more of it is to be read."""
        gate = self.gates.get(choice)
        return gate is not None and (gate.stopped or gate.diverted)

    def reason(self, choice: int) -> str:
        """Say how a choice ends that the policy has ended."""
        return "stop" if self.gates[choice].diverted else "content_filter"

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


class _Told:
    """What the gates of an answer call: notes alarms, and calls the policy's own callback.

    It does not know the answer: one that referred to itself would outlive its end, with all its steps,
    until the garbage collector finds it.
    """

    def __init__(self, callback: Callable[[GateEvent], None] | None) -> None:
        self.alarms: list[StepVerdict] = []
        self.raised: Exception | None = None
        self._callback = callback

    def __call__(self, event: GateEvent) -> None:
        if event.cause == "alarm" and event.action == "flag" and event.step is not None:
            self.alarms.append(event.step)
        if self._callback is not None:
            try:
                self._callback(event)
            except Exception as error:  # it is meant for the caller
                self.raised = error
                raise


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
