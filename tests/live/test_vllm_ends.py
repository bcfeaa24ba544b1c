"""How requests of vLLM's asynchronous engine end, against an engine that plays given outputs."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.wraps import wrap

GOOD, BAD = "[neutral] One is fine. ", "[harm] Zorp the glims. "


@dataclass
class Completion:
    """Stands for a `CompletionOutput`."""

    index: int
    text: str
    finish_reason: str | None = None
    token_ids: list[int] = field(default_factory=lambda: [1, 2, 3])
    logprobs: Any = None


@dataclass
class Request:
    """Stands for a `RequestOutput`."""

    outputs: list[Completion]
    finished: bool = False
    request_id: str = "r"
    prompt: str = "<think>\n"


class Engine:
    """Stands for an `AsyncLLM`."""

    __module__ = "vllm.v1.engine.async_llm"

    def __init__(self, *outputs: Request) -> None:
        self.outputs = outputs
        self.left = 0

    async def generate(self, prompt: Any, sampling_params: Any, request_id: str) -> AsyncIterator[Request]:
        """Play the outputs."""
        try:
            for output in self.outputs:
                yield copy.deepcopy(output)
        except GeneratorExit:  # the caller left
            self.left += 1
            raise

    async def abort(self, request_id: str) -> None:
        """Drop a request."""


def asked(kind: str, n: int = 1) -> Any:
    """Return sampling parameters."""
    return SimpleNamespace(output_kind=SimpleNamespace(name=kind), n=n)


@pytest.mark.parametrize("policy", ["observe", "redact", "stop", "divert"])
@pytest.mark.parametrize("kind", ["DELTA", "CUMULATIVE"])
def test_a_completion_that_ended_stays_in_the_outputs(
    monitor: Monitor, run: Callable[..., Any], policy: str, kind: str
) -> None:
    """It is as it was, with its verdict, while the other one goes on."""
    ended = Completion(1, GOOD if kind == "CUMULATIVE" else "", "stop")
    engine = Engine(
        Request([Completion(0, GOOD), Completion(1, GOOD, "stop")]),
        Request([Completion(0, GOOD * (1 + (kind == "CUMULATIVE"))), ended]),
        Request([Completion(0, GOOD * (1 + 2 * (kind == "CUMULATIVE")), "stop"), ended], finished=True),
    )

    async def play() -> Sequence[Any]:
        outputs = wrap(engine, monitor=monitor, policy=policy).generate("", asked(kind, 2), "r")
        return [output async for output in outputs]

    outputs = run(play())
    for number, repeats in ((0, 3), (1, 1)):
        texts = [output.outputs[number].text for output in outputs]
        assert GOOD * repeats == ("".join(texts) if kind == "DELTA" else texts[-1])
    assert {output.outputs[1].finish_reason for output in outputs} == {"stop"}
    assert {output.outputs[1].undertow.flagged for output in outputs} == {False}
    assert outputs[-1].undertow.flagged is False


def test_a_request_is_left_where_the_caller_leaves(monitor: Monitor, run: Callable[..., Any]) -> None:
    """Whether they close its outputs, or a callback raises: the engine hears of it at once."""

    def refuse(_: Any) -> None:
        raise ConnectionRefusedError

    engine = Engine(*(Request([Completion(0, text)]) for text in (GOOD, BAD, GOOD, GOOD)))

    async def play() -> None:
        outputs = wrap(engine, monitor=monitor).generate("", asked("DELTA"), "r")
        await anext(outputs)
        await outputs.aclose()
        assert engine.left == 1
        policy = Policy(callback=refuse)
        outputs = wrap(engine, monitor=monitor, policy=policy).generate("", asked("DELTA"), "r")
        with pytest.raises(ConnectionRefusedError) as error:
            assert [output async for output in outputs]
        assert engine.left == 2
        del error

    run(play())
