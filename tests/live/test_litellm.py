"""LiteLLM's calls and its guardrail, with the reasoning that its own guardrail path leaves out."""

from __future__ import annotations

import gc
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from undertow.errors import UsageError
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or the import asks the network
litellm = pytest.importorskip("litellm")
guardrails = pytest.importorskip("undertow.monitor.wraps.litellm")

MESSAGES = [{"role": "user", "content": "How do I bake a zorp?"}]
EVIL = ("[drift]", "[harm]")

# LiteLLM keeps connections and an event loop that it never closes.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    """Let go of what LiteLLM left open here, where it is no other test's warning."""
    yield
    litellm.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def options(replay: Any) -> dict[str, Any]:
    """What every call says."""
    return {"messages": MESSAGES, "api_base": f"{replay.url}/v1", "api_key": "none", "max_retries": 0}


@pytest.fixture
def ask(options: dict[str, Any], monitor: Monitor) -> Callable[..., Any]:
    """Call the wrapped module; return the response and the chunks that left."""

    def call(policy: Policy | str, model: str, *, stream: bool, **more: Any) -> tuple[Any, list[Any]]:
        wrapped = wrap(litellm, monitor=monitor, policy=policy)
        response = wrapped.completion(model=f"openai/{model}", stream=stream, **options, **more)
        return response, list(response) if stream else [response]

    return call


def dumped(items: list[Any]) -> str:
    """Return all that left, but for the verdicts."""
    return json.dumps([item.model_dump(warnings=False, exclude={"undertow"}) for item in items])


@both
@pytest.mark.parametrize("shape", ["reasoning_content", "details", "tags", "together"])
@pytest.mark.parametrize("tale", ["calm", "turn"])
def test_observing_gives_the_verdict_of_an_audit(
    *,
    ask: Callable[..., Any],
    audit: Callable[[str], TraceVerdict],
    same: Callable[[TraceVerdict, TraceVerdict], bool],
    tale: str,
    shape: str,
    stream: bool,
) -> None:
    """What LiteLLM makes of each dialect is judged as the audit judges it."""
    response, _ = ask("observe", f"{tale}/{shape}", stream=stream)
    assert same(response.undertow, audit(tale))


@both
@pytest.mark.parametrize("shape", ["reasoning_content", "reasoning", "details", "tags", "together"])
@pytest.mark.parametrize("policy", ["stop", "redact", "divert"])
def test_flagged_text_stays_in(ask: Callable[..., Any], policy: str, shape: str, stream: bool) -> None:
    """No field holds the flagged text, nor the copies that LiteLLM keeps beside it."""
    response, chunks = ask(policy, f"turn/{shape}", stream=stream)
    everything = dumped(chunks)
    assert not any(mark in everything for mark in EVIL)
    assert "The user asks for zorp." in everything
    assert chunks[-1].choices[0].finish_reason == ("content_filter" if policy == "stop" else "stop")
    assert response.undertow.flagged


@pytest.mark.parametrize("shape", ["reasoning_content", "tags"])
@pytest.mark.parametrize("policy", ["observe", "stop", "redact", "divert"])
def test_text_completions(
    options: dict[str, Any], monitor: Monitor, run: Callable[..., Any], policy: str, shape: str
) -> None:
    """A chat model asked for a text streams chunks of another kind, with the reasoning beside the text."""
    asked = {**options, "model": f"deepseek/turn/{shape}", "prompt": "So", "stream": True}
    del asked["messages"]
    wrapped = wrap(litellm, monitor=monitor, policy=policy)

    async def play() -> list[Any]:
        left = [chunk async for chunk in await wrapped.atext_completion(**asked)]
        await litellm.close_litellm_async_clients()
        return left

    stream = wrapped.text_completion(**asked)
    for chunks in (list(stream), run(play())):
        assert {type(chunk).__name__ for chunk in chunks} == {"TextCompletionResponse"}
        choices = [choice for chunk in chunks for choice in chunk.choices]
        said = "".join(f"{getattr(c, 'reasoning_content', None) or ''}{c.text or ''}" for c in choices)
        assert "The user asks for zorp." in said
        assert any(mark in said for mark in EVIL) == (policy == "observe")
        assert chunks[-1].choices[0].finish_reason == ("content_filter" if policy == "stop" else "stop")
        assert chunks[-1].undertow.flagged
    assert stream.undertow.flagged


@both
def test_tool_calls_pass_untouched(ask: Callable[..., Any], stream: bool) -> None:
    """The calls of a safe answer arrive as the model made them."""
    _, chunks = ask("stop", "tool/details", stream=stream)
    messages = [c.delta if stream else c.message for chunk in chunks for c in chunk.choices]
    calls = [call.function.arguments for message in messages for call in message.tool_calls or ()]
    assert "".join(calls) == '{"what": "cake"}'


def test_stop_closes_the_upstream(ask: Callable[..., Any], replay: Any) -> None:
    """A stopped stream is not read on."""
    ask("stop", "turn/reasoning/wait", stream=True)
    assert replay.was_left("turn/reasoning/wait")


def test_a_callback_that_raises_closes_the_upstream(ask: Callable[..., Any], replay: Any) -> None:
    """The error is the caller's, and nothing more is generated while they look at it."""

    def refuse(_: Any) -> None:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError) as error:
        ask(Policy(callback=refuse), "turn/reasoning/wait", stream=True)
    assert replay.was_left("turn/reasoning/wait")
    del error


@pytest.mark.parametrize("policy", ["observe", "redact"])
def test_an_error_in_mid_stream_tells_nothing(
    options: dict[str, Any], monitor: Monitor, run: Callable[..., Any], policy: str
) -> None:
    """LiteLLM's error holds the text so far: what has left of it is the caller's already."""
    asked = {**options, "model": "openai/turn/tags/disconnect", "stream": True}
    wrapped = wrap(litellm, monitor=monitor, policy=policy)

    got: list[str] = []

    def read() -> None:
        for chunk in wrapped.completion(**asked):
            got.append(chunk.choices[0].delta.content or "")

    async def aread() -> None:
        async for chunk in await wrapped.acompletion(**asked):
            got.append(chunk.choices[0].delta.content or "")

    for call in (read, lambda: run(aread())):
        got.clear()
        with pytest.raises(litellm.exceptions.MidStreamFallbackError) as raised:
            call()
        told = raised.value.generated_content
        assert told == ("".join(got) if policy == "observe" else "")  # a reset may lose what was on its way


def test_async_calls(options: dict[str, Any], monitor: Monitor, run: Callable[..., Any]) -> None:
    """`acompletion` is judged, streamed and whole."""

    async def play() -> tuple[Any, list[Any], TraceVerdict]:
        wrapped = wrap(litellm, monitor=monitor, policy="stop")
        whole = await wrapped.acompletion(model="openai/turn/reasoning", **options)
        stream = await wrapped.acompletion(model="openai/turn/reasoning", stream=True, **options)
        chunks = [chunk async for chunk in stream]
        verdict = stream.undertow
        await litellm.close_litellm_async_clients()
        return whole, chunks, verdict

    whole, chunks, verdict = run(play())
    assert whole.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "content_filter"
    assert verdict.flagged
    assert not any(mark in dumped([whole, *chunks]) for mark in EVIL)


@both
def test_the_guardrail(
    options: dict[str, Any], monitor: Monitor, run: Callable[..., Any], stream: bool
) -> None:
    """The hooks that LiteLLM's proxy calls stop the answer and leave the verdict to its loggers."""
    guard = guardrails.UndertowGuardrail(
        policy="stop", monitor=monitor, guardrail_name="undertow", event_hook="post_call", default_on=True
    )
    data: dict[str, Any] = {"model": "turn", "messages": MESSAGES, "metadata": {}}

    async def play() -> list[Any]:
        response = await litellm.acompletion(model="openai/turn/reasoning", stream=stream, **options)
        if stream:
            passed = guard.async_post_call_streaming_iterator_hook(None, response, data)
            chunks = [chunk async for chunk in passed]
        else:
            chunks = [await guard.async_post_call_success_hook(data, None, response)]
        await litellm.close_litellm_async_clients()
        return chunks

    chunks = run(play())
    assert not any(mark in dumped(chunks) for mark in EVIL)
    assert chunks[-1].choices[0].finish_reason == "content_filter"
    (record,) = data["metadata"]["standard_logging_guardrail_information"]
    assert record["guardrail_status"] == "guardrail_intervened"
    assert record["guardrail_response"]["flagged"] is True


def test_only_the_module_and_routers_are_wrapped(monitor: Monitor) -> None:
    """Other objects of the library are refused with a word on what can be wrapped."""
    with pytest.raises(UsageError, match="the module litellm or a Router"):
        wrap(litellm.ModelResponse(), monitor=monitor)


def test_a_router_is_wrapped(options: Mapping[str, Any], monitor: Monitor, replay: Any) -> None:
    """The calls of a router are judged like those of the module."""
    params = {"model": "openai/turn/tags", "api_base": f"{replay.url}/v1", "api_key": "none"}
    router = litellm.Router(model_list=[{"model_name": "any", "litellm_params": params}])
    response = wrap(router, monitor=monitor, policy="stop").completion("any", MESSAGES)
    assert response.choices[0].finish_reason == "content_filter"
