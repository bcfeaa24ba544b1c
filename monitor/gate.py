"""One generation, judged and let through: the one thing that all wraps use.

    gate = Gate(monitor, policy, prompt=request, model="deepseek-r1")
    for delta in upstream:
        for piece in gate.feed(delta):
            send(piece.text)
        if gate.stopped or gate.diverted:
            break
    for piece in gate.close():
        send(piece.text)
    gate.verdict

Under `observe` and `flag` each delta leaves at once, unchanged. Under `redact`, `stop` and
`divert`, and where the policy is closed, text leaves only once the step that holds it has been
judged, so what may not leave is never already out; steps are of bounded length, so nothing waits
for long. What could not be judged is in the verdict, and `Policy.on_error` says whether it may leave.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from threading import Lock

from ..classifiers.contract import CHANNELS, Channel
from ..errors import UsageError
from .channel import ChannelJudge
from .following import Following, Judged
from .holdback import Holdback, Piece
from .monitor import Monitor
from .policy import Action, Cause, GateEvent, Policy, as_policy
from .profiles import PROFILES
from .reasoning import ReasoningParser
from .trace import NotAssessed, Trace, Unreadable
from .verdict import StepVerdict, TraceVerdict

__all__ = ["Gate", "Piece"]


class Gate:
    """Lets one generation through, as far as its policy allows.

    Args:
        monitor: what judges.
        policy: what happens at the alarm; a `Policy`, or the name of its action.
        prompt: the request, in which the steps are judged.
        id: what to call the trace in its verdict.
        model: the model's name; helps to find the reasoning's profile.
        profile: how the reasoning is marked; a name of `monitor.reasoning.PROFILES`.
        raw_prompt: the prompt as a local model got it, or its end.

    Calls may come from any thread; they take turns. A call that is cancelled while it waits for
    its thread does no harm: `close` still gives the verdict on all that was fed.
    """

    def __init__(
        self,
        monitor: Monitor,
        policy: Policy | str = "observe",
        *,
        prompt: str = "",
        id: str = "",
        model: str | None = None,
        profile: str = "auto",
        raw_prompt: str = "",
    ) -> None:
        self.policy = as_policy(policy)
        self.stopped = False
        """True from where the policy ended the generation: close the upstream, feed no more."""
        self.diverted = False
        """True from where the policy turned the generation: the diversion has been let out. What is
        fed from then on is a new continuation, judged as answer; flagged again, it is stopped. A
        generation that was turned in its answer ends with the diversion: it is stopped as well."""
        self.forced = ""
        """The text that turned the generation: the end of its reasoning, and the other answer."""
        self.flagged = False
        """True from the first alarm on, in either channel."""
        self.verdict: TraceVerdict | None = None
        """The verdict, once the gate is closed."""
        self.error: Exception | None = None
        """What broke the monitor, where something did."""
        self._steps: list[StepVerdict] = []
        self._id = id
        self._prompt = prompt
        self._monitor = monitor
        trace = Trace(id=id, prompt=prompt, model=model)
        parser = ReasoningParser(profile, prompt=raw_prompt, model=model)
        self._session = Following(monitor, trace, parser, self.policy)
        self._hold = Holdback(self.policy.replacement)
        self._holds = any(map(self.policy.holds, CHANNELS))
        for channel in CHANNELS:
            if not self.policy.holds(channel):
                self._hold.clear(channel, math.inf)
        self._last: Channel | None = None
        self._told: set[tuple[Cause, Channel | None]] = set()
        self._events: list[GateEvent] = []
        self._lock = Lock()

    @property
    def steps(self) -> Sequence[StepVerdict]:
        """The steps so far, in the order in which they were judged.

        While nothing tells which channel a text is, its steps are those of the likelier one.
        """
        return self._session.ahead.steps if self._session.ahead else self._steps

    def feed(self, delta: str, channel: Channel | None = None) -> list[Piece]:
        """Take more of the generation; return what may leave now, in order.

        Args:
            delta: text as the model wrote it, tags and all.
            channel: given where an API keeps reasoning and answer apart; the text is not parsed.

        Raises:
            UsageError: if the gate is closed.
        """
        with self._lock:
            if self.verdict is not None:
                raise UsageError("the gate is closed: open another for another generation")
            pieces = self._feed(delta, channel)
        self._call_back()
        return pieces

    def close(self) -> list[Piece]:
        """End the generation; return the rest that may leave. `verdict` is there from now on."""
        with self._lock:
            pieces = self._close() if self.verdict is None else []
        self._call_back()
        return pieces

    def pause(self) -> list[Piece]:
        """Return what may leave once all that is open was judged, as if the text ended here.

        For APIs that speak in blocks: nothing of a block is to leave after its end. What follows is
        fed and judged as if there had been no pause.
        """
        with self._lock:
            pieces = self._pause() if self._holds and self.verdict is None else []
        self._call_back()
        return pieces

    def refuse(self, detail: str) -> list[Piece]:
        """Take note that something came which is no text, and so cannot be judged.

        Where the policy is closed, the generation ends here. What the verdict says of it is the
        caller's to add.

        Args:
            detail: a sentence for the callback.

        Returns:
            What may leave now.
        """
        with self._lock:
            pieces = self._refuse("unjudged", detail) if self.verdict is None else []
        self._call_back()
        return pieces

    @property
    def trace(self) -> Trace:
        """The trace as far as it has been written."""
        return self._session.trace

    @property
    def channels(self) -> Mapping[Channel, ChannelJudge]:
        """What has been judged so far, channel by channel."""
        return self._session.channels

    def place(self, channel: Channel, end: int) -> int:
        """Return where a place in a channel, such as a step's end, stands in all that was fed."""
        return self._session.place(channel, end)

    def quiet(self, delta: str, channel: Channel | None = None) -> bool:
        """Whether feeding this asks the classifier nothing; True is certain, and cheap to know."""
        return not self._lock.locked() and self._session.quiet(delta, channel)

    async def afeed(self, delta: str, channel: Channel | None = None) -> list[Piece]:
        """Like `feed`; the classifier runs in a worker thread, never on the event loop."""
        if self.quiet(delta, channel):
            return self.feed(delta, channel)
        return await asyncio.to_thread(self.feed, delta, channel)

    async def aclose(self) -> list[Piece]:
        """Like `close`, in a worker thread."""
        return await asyncio.to_thread(self.close)

    def _feed(self, delta: str, channel: Channel | None) -> list[Piece]:
        if self.stopped:
            return []
        if self.error is not None:
            return [Piece(channel, delta)] if delta else []
        self._last = channel
        try:
            self._steps += self._session.feed(delta, "answer" if self.diverted else channel)
        except Exception as problem:
            pieces = self._fail(problem)
            return pieces if self.stopped else pieces + self._whole(channel, delta)
        return self._whole(channel, delta) + self._settle()

    def _whole(self, channel: Channel | None, delta: str) -> list[Piece]:
        """Return the delta itself, where the policy holds nothing back."""
        return [Piece(channel, delta)] if delta and not self._holds else []

    def _pause(self) -> list[Piece]:
        if self.stopped or self.error is not None:
            return []
        try:
            self._session.pause()
        except Exception as problem:
            return self._fail(problem)
        return self._settle()

    def _close(self) -> list[Piece]:
        ended = self.stopped or self.error is not None
        try:
            if self.error is not None:
                raise self.error
            self.verdict = self._session.close()
        except Exception as problem:
            pieces = self._fail(problem) if self.error is None else []
            self.verdict = self._broken(problem)
            return pieces
        self._steps += _unseen(self.verdict, self._steps)
        if ended:
            return []
        pieces = self._settle()
        if not self.stopped:
            for channel in CHANNELS:
                self._hold.clear(channel, math.inf)
            pieces += self._hold.release()
        elif self._session.cut:  # the end itself was flagged
            self.verdict = self._monitor.conclude(self._session.trace, self._session.channels)
        return pieces

    def _settle(self) -> list[Piece]:
        """Carry out what the new judgements mean."""
        session = self._session
        if session.renamed is not None:
            self._hold.rename(*session.renamed)
            session.renamed = None
        for placed in session.placed:
            self._hold.add(*placed)
        judged, session.placed, session.judged = session.judged, [], []
        pieces: list[Piece] = []
        for one in judged:
            pieces += self._act(one)
            if self.stopped:
                break
        return pieces if self.stopped else pieces + self._hold.release()

    def _act(self, judged: Judged) -> list[Piece]:
        channel, cause = judged.channel, judged.cause
        if self.diverted and channel == "reasoning":  # the end of what was cut off
            return []
        action = self.policy.of(channel)
        self.flagged |= cause == "alarm"
        if cause is None or judged.step is None:
            self._hold.clear(channel, judged.cleared)
            return self._hold.release()
        if cause == "unjudged" and not self.policy.closed(channel):
            action = "observe"
        elif cause == "unjudged" and not self.policy.acts(channel):
            action = "stop"
        self._tell(cause, action, channel, judged.step)
        if action in ("stop", "divert"):
            self._hold.clear(channel, judged.start)
            return self._end(channel, action)
        if action == "redact":
            self._hold.redact(channel, judged.first, judged.step.index, judged.start, judged.step.end)
        self._hold.clear(channel, judged.cleared)
        return []

    def _end(self, channel: Channel | None, action: Action) -> list[Piece]:
        """End the model's text here; what waits never leaves."""
        pieces = self._hold.release()
        self._hold.drop()
        self._session.cut |= channel == "reasoning"
        turned, self.diverted = self.diverted, self.diverted or action == "divert"
        self.stopped = turned or not self.diverted or channel != "reasoning"
        return [*pieces, *self._diversion(channel)] if self.diverted and not turned else pieces

    def _diversion(self, channel: Channel | None) -> list[Piece]:
        """Return the text that turns the generation: the end of its reasoning, and another answer."""
        turn = self._turn(channel) if self._last is None else ""
        self.forced = f"{turn}{self._answer()}"
        return [Piece(None if self._last is None else "answer", self.forced)]

    def _turn(self, channel: Channel | None) -> str:
        return f"\n{_closing_tag(self._session.profile)}\n\n" if channel == "reasoning" else "\n\n"

    def _answer(self) -> str:
        """Return the other answer; a function that fails to give one is no reason to give none."""
        diversion = self.policy.diversion
        try:
            return diversion if isinstance(diversion, str) else diversion(self._prompt)
        except Exception as problem:
            self._tell("failed", "divert", None, None, f"no diversion: {type(problem).__name__}")
            return str(Policy.model_fields["diversion"].default)

    def _fail(self, problem: Exception) -> list[Piece]:
        """The monitor broke: from here on nothing is judged. What was flagged before stays flagged."""
        self.error = problem
        pieces = self._settle()
        pieces += self._refuse("failed", type(problem).__name__)
        if self.stopped or self.diverted:
            self.stopped = True
            return pieces
        for channel in CHANNELS:
            self._hold.clear(channel, math.inf)
        rest, self._session.raw = self._session.raw, ""
        self._hold.add(None, None, 0, rest)
        return pieces + self._hold.release()

    def _refuse(self, cause: Cause, detail: str) -> list[Piece]:
        """Do what the policy says where not a step, but something else could not be judged."""
        closed = [channel for channel in CHANNELS if self.policy.closed(channel)]
        divert = bool(closed) and self.policy.of(closed[0]) == "divert"
        action: Action = "observe" if not closed else "divert" if divert else "stop"
        self._tell(cause, action, None, None, detail)
        if not closed:
            return []
        pieces = [] if self.stopped or self.diverted else self._end(self._session.at, action)
        self.stopped = True
        return pieces

    def _broken(self, problem: Exception) -> TraceVerdict:
        detail = f"the monitor failed: {type(problem).__name__}"
        try:
            return self._session.give_up(detail)
        except Exception:
            reason = NotAssessed(reason="classifier_failed", detail=detail)
            return self._monitor.conclude_unreadable(Unreadable(id=self._id, problem=reason))

    def _tell(
        self,
        cause: Cause,
        action: Action,
        channel: Channel | None,
        step: StepVerdict | None,
        detail: str = "",
    ) -> None:
        if (cause, channel) not in self._told:
            self._told.add((cause, channel))
            self._events.append(
                GateEvent(cause=cause, action=action, id=self._id, channel=channel, step=step, detail=detail)
            )

    def _call_back(self) -> None:
        events, self._events = self._events, []
        for event in events:
            if self.policy.callback is not None:
                self.policy.callback(event)


def _unseen(verdict: TraceVerdict, seen: list[StepVerdict]) -> list[StepVerdict]:
    """Return the steps that closing the session added."""
    known = {(step.channel, step.index) for step in seen}
    return [step for step in verdict.steps if (step.channel, step.index) not in known]


def _closing_tag(profile: str) -> str:
    """Return the mark that ends the reasoning in a profile."""
    markers = PROFILES[profile].markers if profile in PROFILES else ()
    for marker in markers:
        plain = all(isinstance(part, str) for part in marker.parts) and marker.parts
        if plain and not marker.kept and marker.before[0] == "reasoning" and marker.after == "answer":
            return "".join(str(part) for part in marker.parts)
    return "</think>"
