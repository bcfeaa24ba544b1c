"""The monitor inside the proxy: answers that are judged in worker threads, never on the event loop."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import current_process
from typing import TypeAlias, TypeVar

import anyio
from anyio import to_thread

from ....classifiers.apart import Apart, place_of
from ....classifiers.contract import CHANNELS, StepClassifier
from ...monitor import Monitor
from ...policy import GateEvent, Policy
from ..answers import Answer, Asked, Json, Out
from ..chat import ChatAnswer
from ..dialects import Text
from ..messages import MessagesAnswer
from ..responses import ResponsesAnswer
from .call import Call, Kind, json_object
from .limits import Limits
from .metrics import Metrics
from .together import Together
from .verdicts import Verdicts

__all__ = ["Judge", "Judged"]

_T = TypeVar("_T")

_ANSWERS: dict[Kind, Callable[[Asked], Answer]] = {
    "chat": ChatAnswer,
    "completions": ChatAnswer,
    "responses": ResponsesAnswer,
    "messages": MessagesAnswer,
}
_SHORT = 16_384
"""Bytes of a payload up to which it is read on the event loop."""

_Waiting: TypeAlias = tuple[Json, list[Text] | None]
"""A payload and the texts in it; None where they have not been read."""


class Judge:
    """What all exchanges share: the monitor, its workers, and the counts.

    Args:
        monitor: what judges. Its classifier is asked in a process of its own, where that can load it
            by name or folder, and this one may have others (a daemonic one may not).
        policy: what happens at an alarm.
        limits: what is borne.
    """

    def __init__(self, monitor: Monitor, policy: Policy, limits: Limits, profile: str) -> None:
        self.monitor = copy.copy(monitor)
        self._apart = _apart(monitor.classifier)
        self.monitor.classifier = Together(self._apart or monitor.classifier)
        self.policy = policy
        self.limits = limits
        self.profile = profile
        self.metrics = Metrics()
        self.closed = any(map(policy.closed, CHANNELS))
        """Whether something that could not be judged may not pass."""
        self._workers = anyio.CapacityLimiter(limits.judges)

    def start(self) -> None:
        """Begin the process that judges."""
        if self._apart is not None:
            self._apart.start()

    def close(self) -> None:
        """End it."""
        if self._apart is not None:
            self._apart.close()

    @property
    def described(self) -> Json:
        """Name what judges and what is done about it."""
        return {
            "classifier": self.monitor.classifier.name,
            "digest": self.monitor.classifier.digest,
            "false_alarm_rate": self.monitor.false_alarm_rate,
            "profile": self.profile,
            "policy": self.policy.model_dump(include={"action", "reasoning", "answer", "on_error"}),
        }

    def open(self, call: Call) -> Judged:
        """Begin to judge the answer to a call."""
        return Judged(self, call)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do work of the monitor's in a worker thread; cancelled, it is waited for."""
        started = time.perf_counter()
        try:
            return await to_thread.run_sync(work, limiter=self._workers)
        finally:
            self.metrics.judging.observe(time.perf_counter() - started)


def _apart(classifier: StepClassifier) -> Apart | None:
    """Return a classifier as one in a process of its own; None where it has to stay in this one."""
    if isinstance(classifier, Apart):
        return classifier
    place = None if current_process().daemon else place_of(classifier)
    return None if place is None else Apart(classifier, place)


class Judged:
    """One answer. Its payloads are taken at once and judged in the background, in order.

    What comes while a worker is busy is judged by its next call, together.
    """

    def __init__(self, judge: Judge, call: Call) -> None:
        self.behind = 0
        """How many bytes have been taken and not yet judged."""
        self._judge = judge
        self._told = _Told(judge.policy.callback)
        policy = judge.policy.model_copy(update={"callback": self._told})
        self.answer = _ANSWERS[call.kind](
            Asked(
                judge.monitor,
                policy,
                prompt=call.prompt,
                raw_prompt=call.prompt if call.kind == "completions" else "",
                model=call.model,
                choices=call.choices,
                profile=judge.profile,
            )
        )
        self._waiting: list[_Waiting] = []
        self._sizes: list[int] = []
        self._outs: list[Out] = []
        self._task: asyncio.Task[None] | None = None

    def take(self, payload: Json, size: int) -> None:
        """Take the next payload, of so many bytes.

        Most payloads are short and close no step. They are taken here and now: to send each to a worker
        would cost more than all else together. A long one is read, and what asks the classifier judged,
        in the background.
        """
        idle = self._task is None or self._task.done()
        texts = self._read(payload) if idle and size <= _SHORT else None
        if texts is not None and not self.answer.asked.holds and self.answer.quiet(texts):
            self._outs += self._take([(payload, texts)])
            return
        self._waiting.append((payload, texts))
        self._sizes.append(size)
        self.behind += size
        if idle:
            self._task = asyncio.create_task(self._work())

    def outs(self) -> list[Out]:
        """Return what may leave by now, once."""
        outs, self._outs = self._outs, []
        return outs

    async def caught_up(self) -> None:
        """Wait until what was taken has been judged."""
        if self._task is not None:
            await self._task

    @property
    def failed(self) -> str | None:
        """Say why the answer may not go on, if it may not."""
        if self._told.problem is not None:
            return "a callback of undertow's policy ended the answer"
        return None

    async def whole(self, raw: bytes) -> tuple[bytes, Verdicts] | None:
        """Judge an answer that came whole.

        Returns:
            It as it may leave, with the verdicts in it, and these; None if it is no JSON object.
        """
        return await self._judge.run(partial(self._whole, raw))

    def _whole(self, raw: bytes) -> tuple[bytes, Verdicts] | None:
        body = json_object(raw)
        if body is None:
            return None
        held = self.answer.asked.holds
        let = copy.deepcopy(body) if held else body
        let = self.answer.whole(let)
        verdicts = self._end(cut_short=False)
        return _with(json.dumps(let).encode() if held and let != body else raw, verdicts.json), verdicts

    async def end(self, *, cut_short: bool) -> Verdicts:
        """End the answer; return the verdicts, already written: long ones take their time."""
        await self.caught_up()
        return await self._judge.run(partial(self._end, cut_short=cut_short))

    def _end(self, *, cut_short: bool) -> Verdicts:
        self._outs += self.answer.end(cut_short=cut_short)
        verdicts = self.answer.verdicts
        for choice, verdict in verdicts.items():
            self._judge.metrics.concluded(verdict, self.answer.gates[choice])
        return Verdicts(verdicts)

    def abandon(self) -> None:
        """Stop judging: nobody waits for the verdicts."""
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            size, self._sizes = sum(self._sizes), []
            outs = await self._judge.run(partial(self._take, batch))
            self._outs += outs  # read only now: some may have left meanwhile
            self.behind -= size

    def _take(self, batch: list[_Waiting]) -> list[Out]:
        outs: list[Out] = []
        for payload, read in batch:
            texts = self._read(payload) if read is None else read
            if not self._done:
                outs += self.answer.take(payload, texts)
        return outs

    def _read(self, payload: Json) -> list[Text]:
        """Return the texts of a payload; each payload is read once, in its turn."""
        return [] if self._done else self.answer.read(payload)

    @property
    def _done(self) -> bool:
        """Whether nothing more is to be judged."""
        return bool(self.answer.over or self._told.problem)


class _Told:
    """A policy's callback, what it raises kept: that ends the answer, not the worker.

    It knows nothing of the answer that has it: an answer that referred to itself would stay, with all
    its steps, until the garbage collector finds it, and the event loop stands still for that.
    """

    def __init__(self, callback: Callable[[GateEvent], None] | None) -> None:
        self.problem: Exception | None = None
        self._callback = callback

    def __call__(self, event: GateEvent) -> None:
        if self._callback is not None:
            try:
                self._callback(event)
            except Exception as error:
                self.problem = error.with_traceback(None)  # its frames would refer to it


def _with(raw: bytes, verdicts: str) -> bytes:
    """Put the verdicts into a JSON object and leave its other bytes as they are."""
    before = raw.rstrip()[:-1].rstrip()
    comma = b"" if before.endswith(b"{") else b","
    return b"".join([before, comma, b'"undertow":', verdicts.encode(), b"}"])
