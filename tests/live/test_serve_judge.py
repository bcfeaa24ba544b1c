"""What is judged inside the proxy: each payload once, in order, the classifier never on the event loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence

from undertow.classifiers.contract import Probabilities, StepInput
from undertow.monitor.policy import Policy
from undertow.monitor.wraps.proxy.call import Call
from undertow.monitor.wraps.proxy.judge import Judge, Judged
from undertow.monitor.wraps.proxy.limits import Limits
from undertow.testing import ScriptedClassifier, scripted_monitor


class Waiting(ScriptedClassifier):
    """Answers when it is let, and notes the threads that ask."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.threads: set[int] = set()

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the rows, after waiting."""
        self.threads.add(threading.get_ident())
        assert self.go.wait(10)
        return super().predict_proba(steps)


def judged(classifier: ScriptedClassifier) -> Judged:
    """Return an answer to be judged."""
    judge = Judge(scripted_monitor(classifier), Policy(action="flag"), Limits(), "auto")
    return judge.open(Call("chat", "m", "A request.", 1))


def payload(text: str) -> dict[str, object]:
    """Return a chunk of a chat's reasoning."""
    choice = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
    return {"id": "c", "choices": [choice]}


def test_what_has_left_leaves_once() -> None:
    """What was drained while a worker judged does not come again when it has judged."""

    async def run() -> tuple[int, int]:
        classifier = Waiting()
        classifier.go.set()
        one = judged(classifier)
        one.take(payload("A step here. Then "), 1)
        await one.caught_up()
        classifier.go.clear()
        one.take(payload("another one. And "), 1)
        await asyncio.sleep(0.05)
        first = len(one.outs())
        classifier.go.set()
        await one.caught_up()
        return first, len(one.outs())

    assert asyncio.run(run()) == (1, 1)


def test_the_classifier_is_not_asked_on_the_event_loop() -> None:
    """Payloads that close no step are taken on the loop; whatever asks the classifier is not."""

    async def run() -> tuple[int, set[int]]:
        classifier = Waiting()
        classifier.go.set()
        one = judged(classifier)
        for word in ("One ", "step ", "is ", "here. ", "Then ", "another ", "one. ", "And ", "so "):
            one.take(payload(word), 1)
            await one.caught_up()
        verdicts = await one.end(cut_short=False)
        assert len(json.loads(verdicts.json)["verdicts"][0]["steps"]) == 3
        return threading.get_ident(), classifier.threads

    loop, asked = asyncio.run(run())
    assert asked and loop not in asked
