"""Real traces through every wrap of an API, with its real client, cut at random: the audit's verdicts."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from sys import modules
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from undertow.classifiers.contract import Probabilities, StepClassifier, StepInput
from undertow.monitor.audit import read
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or the import asks the network
openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
litellm = pytest.importorskip("litellm")
langchain = pytest.importorskip("langchain_openai")

# LiteLLM keeps connections and an event loop that it never closes.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

LONGEST = 450
"""Characters of a channel that are played: a dozen steps a trace."""

DELTA = 50
"""Characters in a delta, at most."""

SHAPES = ("reasoning_content", "reasoning", "details", "together", "tags", "parts")


class Remembering:
    """The classifier that ships, asked once for each step in its context.

    The audit asks first; a wrap that puts a step into another context asks for another row.
    """

    def __init__(self, inner: StepClassifier) -> None:
        self._inner, self._rows = inner, dict[StepInput, Any]()
        self.name, self.digest, self.classes_ = inner.name, inner.digest, inner.classes_

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the rows."""
        new = [step for step in dict.fromkeys(steps) if step not in self._rows]
        if new:
            self._rows |= zip(new, self._inner.predict_proba(new), strict=True)
        return np.array([self._rows[step] for step in steps])


class Played(NamedTuple):
    """A trace, what the replaying server knows it by, and what an audit says of it."""

    name: str
    trace: Trace
    verdict: TraceVerdict

    def model(self, shapes: Sequence[str] = SHAPES) -> str:
        """Name the model that tells it, in one of some shapes."""
        return f"{self.name}/{shapes[int(self.name) % len(shapes)]}"

    @property
    def turns(self) -> Any:
        """The request, as a conversation."""
        return [{"role": "user", "content": self.trace.prompt}]

    @property
    def policy(self) -> Any:
        """The policy it is judged under: every other one is held back until it was judged."""
        return ("observe", "redact")[int(self.name) % 2]


@pytest.fixture(scope="module")
def judge() -> Monitor:
    """A monitor with a classifier that ships."""
    monitor = Monitor("step-lexical")
    monitor.classifier = Remembering(monitor.classifier)
    return monitor


def bare(path: Path) -> Iterator[Trace]:
    """Yield a file's traces with both channels and no tags in them, as a live call has them."""
    for trace in read([path]):
        reasoning, answer = getattr(trace, "reasoning", None) or "", getattr(trace, "answer", None) or ""
        if isinstance(trace, Trace) and reasoning and answer and "think>" not in reasoning + answer:
            yield Trace(prompt=trace.prompt, reasoning=reasoning[:LONGEST], answer=answer[:LONGEST])


@pytest.fixture(scope="module")
def played(shared: Path, replay: Any, judge: Monitor) -> list[Played]:
    """300 real traces of three models, which the replaying server tells."""
    files = sorted((shared / "transcripts").rglob("*.jsonl"))
    each = 300 // len(files)
    traces = [trace for path in files for trace in islice(bare(path), each)]
    tale = type(replay.tales["calm"])
    for number, trace in enumerate(traces):
        replay.tales[str(number)] = tale(trace.reasoning, trace.answer, longest=DELTA)
    verdicts = judge.judge(traces)
    return [Played(str(i), *pair) for i, pair in enumerate(zip(traces, verdicts, strict=True))]


Ask = Callable[[Played], TraceVerdict]


@pytest.fixture(scope="module")
def clients(replay: Any, judge: Monitor) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    """The wrapped clients of each library, by policy."""
    with ExitStack() as stack:
        made = {
            "openai": openai.OpenAI(base_url=f"{replay.url}/v1", api_key="none", max_retries=0),
            "anthropic": anthropic.Anthropic(base_url=replay.url, api_key="none", max_retries=0),
        }
        for client in made.values():
            stack.enter_context(client)
        yield {
            name: {policy: wrap(client, monitor=judge, policy=policy) for policy in ("observe", "redact")}
            for name, client in [*made.items(), ("litellm", litellm)]
        }
    litellm.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def read_out(response: Any, *, stream: bool) -> TraceVerdict:
    """Return the verdict on a response that is read to its end."""
    for _ in response if stream else ():
        pass
    verdict: TraceVerdict = response.undertow
    return verdict


def by_openai(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask for a chat completion."""
    calls = world.clients["openai"][one.policy].chat.completions
    return read_out(calls.create(model=one.model(), messages=one.turns, stream=stream), stream=stream)


def by_responses(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask for a response."""
    calls = world.clients["openai"][one.policy].responses
    return read_out(calls.create(model=one.model(("text",)), input=one.turns, stream=stream), stream=stream)


def by_anthropic(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask for a message."""
    calls = world.clients["anthropic"][one.policy].messages
    asked = {"model": one.model(("",)), "max_tokens": 99, "messages": one.turns}
    return read_out(calls.create(**asked, stream=stream), stream=stream)


def by_litellm(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask LiteLLM for a completion."""
    model = one.model(("reasoning_content", "details", "together", "tags"))
    options = {"api_base": f"{world.replay.url}/v1", "api_key": "none", "max_retries": 0}
    calls = world.clients["litellm"][one.policy]
    return read_out(
        calls.completion(model=f"openai/{model}", messages=one.turns, stream=stream, **options), stream=stream
    )


def by_langchain(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask a chat model of LangChain's."""
    chat = world.chats[one.policy]
    model = one.model(("reasoning_content", "reasoning", "together", "tags"))
    if stream:
        said = [chunk.response_metadata for chunk in chat.stream(one.trace.prompt, model=model)]
    else:
        said = [chat.invoke(one.trace.prompt, model=model).response_metadata]
    return TraceVerdict.model_validate(next(one["undertow"] for one in said if "undertow" in one))


def by_proxy(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask the proxy, by the client without a wrap."""
    calls = world.through[one.policy].chat.completions
    said = calls.create(model=one.model(), messages=one.turns, stream=stream)
    *_, last = said if stream else [said]
    verdict: TraceVerdict = modules["serving"].verdicts_in(last.undertow)[0]
    return verdict


def by_vllm(world: Any, one: Played, *, stream: bool) -> TraceVerdict:
    """Ask an engine with vLLM's shapes, offline and online."""
    tale = world.replay.tales[one.name]
    deltas = tale.cut(f"<think>{tale.reasoning}</think>{tale.answer}")

    def output(text: str, *, finished: bool) -> Any:
        completion = SimpleNamespace(
            index=0, text=text, token_ids=[], logprobs=None, finish_reason="stop" if finished else None
        )
        return SimpleNamespace(
            request_id="1", prompt=one.trace.prompt, outputs=[completion], finished=finished
        )

    class Engine:
        __module__ = "vllm.entrypoints.llm"

        def generate(self, *_: Any) -> Any:
            return [output("".join(deltas), finished=True)]

    class AsyncEngine:
        __module__ = "vllm.v1.engine.async_llm"

        async def generate(self, *_: Any) -> Any:
            for number in range(len(deltas)):
                yield output("".join(deltas[: number + 1]), finished=number + 1 == len(deltas))

        async def abort(self, _: str) -> None:
            raise AssertionError

    async def follow() -> Any:
        engine = wrap(AsyncEngine(), monitor=world.judge, policy=one.policy)
        return [shown async for shown in engine.generate(one.trace.prompt, None, "1")][-1]

    if stream:
        return asyncio.run(follow()).undertow  # type: ignore[no-any-return]
    engine = wrap(Engine(), monitor=world.judge, policy=one.policy)
    return engine.generate([one.trace.prompt])[0].undertow  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def world(clients: Any, replay: Any, judge: Monitor, start: Any) -> Iterator[Any]:
    """All that the wraps are asked with."""
    chats = {}
    with ExitStack() as stack:
        through = {}
        for policy in ("observe", "redact"):
            url = start(monitor=judge, policy=policy)
            through[policy] = stack.enter_context(
                openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
            )
            chat = langchain.ChatOpenAI(model="-", base_url=f"{replay.url}/v1", api_key="none", max_retries=0)
            chats[policy] = wrap(chat, monitor=judge, policy=policy)
        yield SimpleNamespace(clients=clients, replay=replay, judge=judge, chats=chats, through=through)


WAYS: dict[Callable[..., TraceVerdict], tuple[int, int]] = {
    by_openai: (1, 5),
    by_anthropic: (1, 5),
    by_proxy: (1, 5),
    by_responses: (5, 5),
    by_litellm: (5, 5),
    by_langchain: (5, 5),
    by_vllm: (5, 5),
}
"""Which of the traces are played through a wrap, streamed and whole: every one, or every fifth.

The clients take most of the time, so the 300 go in full through the three main ways only.
"""


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("by_"))
def test_parity_on_real_traces(
    *,
    played: list[Played],
    world: Any,
    same: Callable[[TraceVerdict, TraceVerdict], bool],
    way: Callable[..., TraceVerdict],
    stream: bool,
) -> None:
    """Real traces through the wrap, cut at random: each verdict is the audit's, to the last digit."""
    assert len(played) == 300
    chosen = played[:: WAYS[way][0 if stream else 1]]
    wrong = [one.name for one in chosen if not same(way(world, one, stream=stream), one.verdict)]
    assert wrong == []
