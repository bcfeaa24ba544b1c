"""vLLM's wraps, against objects with the fields and methods that vLLM documents.

vLLM itself needs more of a machine than tests may ask for, so these are not the real counterparts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from sys import modules
from types import SimpleNamespace
from typing import Any

import pytest

from undertow.errors import UsageError
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap

PROMPT = "How do I bake a zorp?"
RAW = f"<|im_start|>user\n{PROMPT}<|im_end|>\n<|im_start|>assistant\n<think>"
EVIL = ("[drift]", "[harm]")


@dataclass
class Completion:
    """Stands for a `CompletionOutput`."""

    index: int
    text: str
    token_ids: list[int] = field(default_factory=lambda: [1, 2, 3])
    logprobs: Any = None
    finish_reason: str | None = None


@dataclass
class Request:
    """Stands for a `RequestOutput`."""

    request_id: str
    prompt: str | None
    outputs: list[Completion]
    finished: bool


class LLM:
    """Stands for the offline engine."""

    __module__ = "vllm.entrypoints.llm"

    def __init__(self, text: str, n: int = 1) -> None:
        self.text, self.n = text, n

    def generate(self, prompts: list[str]) -> list[Request]:
        """Answer each prompt."""
        return [self._answer(str(number), prompt) for number, prompt in enumerate(prompts)]

    def chat(self, messages: list[dict[str, str]]) -> list[Request]:
        """Answer a conversation."""
        return [self._answer("0", RAW)]

    def _answer(self, id: str, prompt: str) -> Request:
        outputs = [Completion(i, self.text, finish_reason="stop") for i in range(self.n)]
        return Request(id, prompt, outputs, finished=True)


class AsyncLLM:
    """Stands for the asynchronous engine."""

    __module__ = "vllm.v1.engine.async_llm"

    def __init__(self, text: str, n: int = 1) -> None:
        self.text, self.n = text, n
        self.aborted: list[str] = []

    async def generate(self, prompt: str, sampling_params: Any, request_id: str) -> AsyncIterator[Request]:
        """Answer a prompt, as it is written."""
        cuts = [*range(0, len(self.text), 7), len(self.text)]
        for start, end in pairwise(cuts):
            text = self.text[start:end] if sampling_params.output_kind.name == "DELTA" else self.text[:end]
            last = end == len(self.text)
            finish = "stop" if last else None
            outputs = [Completion(i, text, finish_reason=finish) for i in range(self.n)]
            yield Request(request_id, prompt, outputs, finished=last)

    async def abort(self, request_id: str) -> None:
        """Drop a request."""
        self.aborted.append(request_id)


def raw(tale: Any) -> str:
    """Return a tale as a local model writes it whose prompt has opened the reasoning."""
    return f"{tale.reasoning}</think>{tale.answer}"


@pytest.mark.parametrize("tale", ["calm", "turn", "late", "broken"])
def test_offline_verdicts_are_the_audits(
    tales: Mapping[str, Any],
    audit: Callable[[str], TraceVerdict],
    same: Callable[[TraceVerdict, TraceVerdict], bool],
    monitor: Monitor,
    tale: str,
) -> None:
    """Texts are untouched, each completion has its verdict, and the request that which matters most."""
    llm = wrap(LLM(raw(tales[tale]), n=2), monitor=monitor)
    (request,) = llm.chat([{"role": "user", "content": PROMPT}])
    assert [c.text for c in request.outputs] == [raw(tales[tale])] * 2
    assert all(same(c.undertow, audit(tale)) for c in request.outputs)
    assert request.undertow.flagged == audit(tale).flagged
    assert llm.n == 2


@pytest.mark.parametrize("policy", ["stop", "redact", "divert"])
def test_offline_policies(tales: Mapping[str, Any], monitor: Monitor, policy: str) -> None:
    """What is flagged is taken out afterwards, with the tokens that tell it."""
    (request,) = wrap(LLM(raw(tales["turn"])), monitor=monitor, policy=policy).generate([RAW])
    (completion,) = request.outputs
    assert not any(mark in completion.text for mark in EVIL)
    assert completion.text.startswith("[neutral] The user asks for zorp. ")
    assert completion.token_ids == []
    assert completion.finish_reason == ("content_filter" if policy == "stop" else "stop")


@pytest.mark.parametrize("kind", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("policy", ["observe", "stop", "redact", "divert"])
def test_online(
    tales: Mapping[str, Any], monitor: Monitor, run: Callable[..., Any], policy: str, kind: str
) -> None:
    """A growing output is judged as it grows; a request that is stopped or diverted is aborted."""
    engine = AsyncLLM(raw(tales["turn"]), n=2)
    params = SimpleNamespace(output_kind=SimpleNamespace(name=kind), n=2)

    async def play() -> list[Any]:
        wrapped = wrap(engine, monitor=monitor, policy=policy)
        return [request async for request in wrapped.generate(RAW, params, "r1")]

    outputs = run(play())
    texts = [request.outputs[1].text for request in outputs]
    text = "".join(texts) if kind == "DELTA" else texts[-1]
    assert text.startswith("[neutral] The user asks for zorp. ")
    assert any(mark in text for mark in EVIL) == (policy == "observe")
    assert outputs[-1].finished
    assert outputs[-1].undertow.flagged
    assert outputs[-1].outputs[0].finish_reason == ("content_filter" if policy == "stop" else "stop")
    assert engine.aborted == (["r1"] if policy in ("stop", "divert") else [])
    if policy == "observe":
        assert text == raw(tales["turn"])


odd: Any = modules["odd"]  # it stands beside this file
ODD, POLICIES = odd.ODD, odd.POLICIES
policies = pytest.mark.parametrize("policy", POLICIES)

WRONG: Mapping[str, Callable[[list[Completion]], Any]] = {
    "a number": lambda c: [Completion(0, ODD, finish_reason=c[0].finish_reason), *c[1:]],
    "no text": lambda c: [Completion(0, None, finish_reason=c[0].finish_reason), *c[1:]],  # type: ignore[arg-type]
    "no completion": lambda c: [None, *c[1:]],
    "a text for a completion": lambda c: [f"{ODD}", *c[1:]],
    "a text for all": lambda _: f"{ODD}",
    "none at all": lambda _: None,
    "an empty list": lambda _: [],
}
wrongs = pytest.mark.parametrize("wrong", WRONG)
several = pytest.mark.parametrize("n", [1, 2])


class OddLLM(LLM):
    """Stands for an offline engine whose outputs have another shape."""

    __module__ = "vllm.entrypoints.llm"
    wrong = ""

    def _answer(self, id: str, prompt: str) -> Request:
        request = super()._answer(id, prompt)
        request.outputs = WRONG[self.wrong](request.outputs)
        return request


class OddAsyncLLM(AsyncLLM):
    """Stands for an asynchronous engine some of whose outputs have another shape."""

    __module__ = "vllm.v1.engine.async_llm"
    wrong, when = "", ""

    async def generate(self, prompt: str, sampling_params: Any, request_id: str) -> AsyncIterator[Request]:
        """Answer a prompt; at the beginning, in the middle or at the end it has another shape."""
        number = 0
        async for request in super().generate(prompt, sampling_params, request_id):
            number += 1
            if {"first": number == 1, "then": number == 3, "last": request.finished}[self.when]:
                request.outputs = WRONG[self.wrong](request.outputs)
            yield request


def told(verdict: TraceVerdict) -> None:
    """Check that a verdict says that something could not be read."""
    assert verdict.assessed != "full"
    assert verdict.not_assessed is not None
    assert verdict.not_assessed.reason == "wrong_types"


@wrongs
@several
@policies
def test_offline_outputs_of_the_wrong_type(
    tales: Mapping[str, Any], monitor: Monitor, policy: str, n: int, wrong: str
) -> None:
    """Nothing fails, the verdict tells it, and it passes as it came, or not under a closed policy."""
    llm = OddLLM(raw(tales["calm"]), n=n)
    llm.wrong = wrong
    (request,) = wrap(llm, monitor=monitor, policy=POLICIES[policy]).generate([RAW])
    told(request.undertow)
    closed = POLICIES[policy].closed("reasoning")
    plain = llm.generate([RAW])[0].outputs
    assert closed == (f"{ODD}" not in str(request.outputs)) or f"{ODD}" not in str(plain)
    for completion in request.outputs if closed else ():
        (told if completion.index == 0 else str)(completion.undertow)
        reason = "stop" if policy == "divert" or completion.index else "content_filter"
        assert completion.finish_reason == reason
    good = [one for one in request.outputs or () if getattr(one, "index", 0) == 1]
    assert all(one.text == raw(tales["calm"]) and one.undertow.assessed == "full" for one in good)


@wrongs
@several
@pytest.mark.parametrize("policy", ["observe", "closed", "redact, open", "divert"])
@pytest.mark.parametrize("kind", ["DELTA", "CUMULATIVE"])
@pytest.mark.parametrize("when", ["first", "then", "last"])
def test_online_outputs_of_the_wrong_type(  # noqa: PLR0917
    tales: Mapping[str, Any],
    monitor: Monitor,
    run: Callable[..., Any],
    policy: str,
    n: int,
    wrong: str,
    when: str,
    kind: str,
) -> None:
    """The same while they grow: a closed policy aborts the request once all of it has ended.

    What still waits at the end leaves in place of what cannot be read.
    """
    engine = OddAsyncLLM(raw(tales["calm"]), n=n)
    engine.wrong, engine.when = wrong, when
    params = SimpleNamespace(output_kind=SimpleNamespace(name=kind), n=n)

    async def play() -> list[Any]:
        wrapped = wrap(engine, monitor=monitor, policy=POLICIES[policy])
        return [request async for request in wrapped.generate(RAW, params, "r1")]

    outputs = run(play())
    told(outputs[-1].undertow)
    assert outputs[-1].finished
    closed = POLICIES[policy].closed("reasoning")
    every = str([request.outputs for request in outputs])
    passes = wrong in {"a number", "a text for a completion", "a text for all"}
    waits = (policy, when) == ("redact, open", "last") and wrong != "a text for a completion"
    assert (f"{ODD}" in every) == (passes and not closed and not waits)
    if n == 2 and "complet" in wrong:  # the other one goes on as ever
        others = [one.text for request in outputs for one in request.outputs if getattr(one, "index", 0) == 1]
        assert raw(tales["calm"]) == ("".join(others) if kind == "DELTA" else others[-1])
    assert engine.aborted == (["r1"] if closed and n == 1 and when != "last" else []) or n > 1


def tokens(request: str, begun: str) -> tuple[Any, list[int]]:
    """Return a tokenizer, and a prompt as tokens whose last turn was begun for the model."""
    pytest.importorskip("transformers")
    pytest.importorskip("torch")
    tiny: Any = modules["tiny"]
    tokenizer = tiny.byte_level()
    return tokenizer, tokenizer.encode(f"{tiny.prompt_of(request)}{begun}", add_special_tokens=False)


class TokenLLM(LLM):
    """Stands for an offline engine that was given tokens, as vLLM's own `chat` gives them."""

    __module__ = "vllm.entrypoints.llm"
    tokenizer: Any = None
    ids: Any = None

    def get_tokenizer(self) -> Any:
        """Return the tokenizer, or fail where the engine has none."""
        if self.tokenizer is None:
            raise ValueError("skip_tokenizer_init")
        return self.tokenizer

    def _answer(self, id: str, prompt: str) -> Request:
        request = super()._answer(id, prompt)
        request.prompt, request.prompt_token_ids = None, self.ids  # type: ignore[attr-defined]
        return request

    def beam_search(self, prompts: list[str]) -> Any:
        """Search among beams."""


class TokenAsyncLLM(AsyncLLM):
    """Stands for an asynchronous engine that was given tokens."""

    __module__ = "vllm.v1.engine.async_llm"
    tokenizer: Any = None
    ids: Any = None

    async def get_tokenizer(self) -> Any:
        """Return the tokenizer, or fail where the engine has none."""
        if self.tokenizer is None:
            raise ValueError("skip_tokenizer_init")
        return self.tokenizer

    async def generate(self, prompt: Any, sampling_params: Any, request_id: str) -> AsyncIterator[Request]:
        """Answer a prompt of tokens."""
        async for request in super().generate("", sampling_params, request_id):
            request.prompt, request.prompt_token_ids = None, self.ids  # type: ignore[attr-defined]
            yield request


@pytest.mark.parametrize("begun", ["<think>\n", "<think>\nI was begun for it, and"])
def test_prompts_of_tokens(
    tales: Mapping[str, Any], monitor: Monitor, run: Callable[..., Any], begun: str
) -> None:
    """What a prompt of tokens opened is known, and its text is what the steps are judged in."""
    tale = tales["turn"].reasoning
    llm, engine = TokenLLM(tale), TokenAsyncLLM(tale)
    llm.tokenizer, llm.ids = engine.tokenizer, engine.ids = tokens(PROMPT, begun)
    text = llm.tokenizer.decode(llm.ids, skip_special_tokens=True)
    params = SimpleNamespace(output_kind=SimpleNamespace(name="CUMULATIVE"), n=1)

    async def play() -> Any:
        wrapped = wrap(engine, monitor=monitor)
        return [request async for request in wrapped.generate({}, params, "0")][-1].undertow

    (request,) = wrap(llm, monitor=monitor).generate([""])
    trace = Trace(id="0#0", prompt=text, reasoning=tale, truncated=True)
    assert [request.undertow, run(play())] == list(monitor.judge([trace])) * 2


def test_engines_without_a_tokenizer(
    tales: Mapping[str, Any], monitor: Monitor, run: Callable[..., Any]
) -> None:
    """Their texts are judged as ever."""
    llm, engine = TokenLLM(tales["turn"].reasoning), TokenAsyncLLM(tales["turn"].reasoning)
    params = SimpleNamespace(output_kind=SimpleNamespace(name="DELTA"), n=1)

    async def play() -> Any:
        wrapped = wrap(engine, monitor=monitor)
        return [request async for request in wrapped.generate({}, params, "0")][-1].undertow

    assert wrap(llm, monitor=monitor).generate([""])[0].undertow.flagged
    assert run(play()).flagged
    with pytest.raises(UsageError, match="use generate or chat"):
        wrap(llm, monitor=monitor).beam_search([""])


def test_only_engines_are_wrapped(monitor: Monitor) -> None:
    """Other objects of the library are refused with a word on what can be wrapped."""
    params = type("SamplingParams", (), {"__module__": "vllm.sampling_params"})()
    with pytest.raises(UsageError, match="an LLM or AsyncLLM"):
        wrap(params, monitor=monitor)
