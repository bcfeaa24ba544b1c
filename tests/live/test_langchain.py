"""LangChain's chat models, wrapped and merely watched, with the reasoning that ChatOpenAI drops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from sys import modules
from typing import Any

import httpx
import pytest
from pydantic import Field

from undertow.errors import UsageError
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap

lc = pytest.importorskip("langchain_core")
lc_openai = pytest.importorskip("langchain_openai")
wraps = pytest.importorskip("undertow.monitor.wraps.langchain")

from langchain_core.language_models import BaseChatModel  # noqa: E402
from langchain_core.messages import AIMessage, AIMessageChunk  # noqa: E402
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult  # noqa: E402
from langchain_core.runnables import RunnableConfig  # noqa: E402

PROMPT = "How do I bake a zorp?"
EVIL = ("[drift]", "[harm]")

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture
def chat(replay: Any) -> Callable[..., Any]:
    """Make chat models of the replaying server."""

    def make(model: str, **options: Any) -> Any:
        return lc_openai.ChatOpenAI(
            model=model, base_url=f"{replay.url}/v1", api_key="none", max_retries=0, **options
        )

    return make


@pytest.fixture
def wrapped(chat: Callable[..., Any], monitor: Monitor) -> Callable[..., Any]:
    """Make wrapped chat models."""

    def make(model: str, policy: Policy | str = "observe", **options: Any) -> Any:
        return wrap(chat(model, **options), monitor=monitor, policy=policy)

    return make


def ask(model: Any, *, stream: bool) -> tuple[Any, TraceVerdict]:
    """Return the message and its verdict."""
    message: Any = None
    if stream:
        for chunk in model.stream(PROMPT):
            message = chunk if message is None else message + chunk
    else:
        message = model.invoke(PROMPT)
    return message, TraceVerdict.model_validate(message.response_metadata["undertow"])


@both
@pytest.mark.parametrize("shape", ["reasoning_content", "reasoning", "tags", "together"])
@pytest.mark.parametrize("tale", ["calm", "turn"])
def test_observing_gives_the_verdict_of_an_audit(
    *,
    wrapped: Callable[..., Any],
    tales: Mapping[str, Any],
    audit: Callable[[str], TraceVerdict],
    same: Callable[[TraceVerdict, TraceVerdict], bool],
    tale: str,
    shape: str,
    stream: bool,
) -> None:
    """The message is the model's own with its verdict, and the reasoning is kept."""
    message, verdict = ask(wrapped(f"{tale}/{shape}"), stream=stream)
    thought = message.additional_kwargs.get("reasoning_content", "")
    assert tales[tale].reasoning in thought + message.content
    assert message.content.endswith(tales[tale].answer)
    assert same(verdict, audit(tale))


@both
@pytest.mark.parametrize("shape", ["reasoning_content", "tags"])
@pytest.mark.parametrize("policy", ["stop", "redact", "divert"])
def test_flagged_text_stays_in(wrapped: Callable[..., Any], policy: str, shape: str, stream: bool) -> None:
    """No part of the message holds the flagged text; a stop has its finish reason."""
    message, verdict = ask(wrapped(f"turn/{shape}", policy), stream=stream)
    del message.response_metadata["undertow"]
    assert not any(mark in str(message) for mark in EVIL)
    assert "The user asks for zorp." in str(message)
    expected = "content_filter" if policy == "stop" else "stop"
    assert message.response_metadata["finish_reason"] == expected
    assert verdict.flagged


@both
def test_blocks_of_the_responses_api(wrapped: Callable[..., Any], stream: bool) -> None:
    """Content that comes as blocks stays so, redacted."""
    message, verdict = ask(wrapped("late/summary", "redact", use_responses_api=True), stream=stream)
    texts = [block["text"] for block in message.content if block["type"] == "text"]
    assert texts == ["[neutral] Here it is. [redacted by undertow] [neutral] Enjoy."]
    assert verdict.flagged


@both
@pytest.mark.parametrize(("tale", "calls"), [("tool", 1), ("turntool", 0)], ids=["calm", "flagged"])
def test_tool_calls(wrapped: Callable[..., Any], tale: str, calls: int, stream: bool) -> None:
    """The calls of a safe answer arrive, those after a flagged step do not."""
    message, _ = ask(wrapped(f"{tale}/reasoning", "stop"), stream=stream)
    assert [call["args"] for call in message.tool_calls] == [{"what": "cake"}] * calls


def test_stop_closes_the_upstream(wrapped: Callable[..., Any], replay: Any) -> None:
    """A stopped stream is not read on."""
    ask(wrapped("turn/together/wait", "stop"), stream=True)
    assert replay.was_left("turn/together/wait")


def test_a_callback_that_raises_closes_the_upstream(wrapped: Callable[..., Any], replay: Any) -> None:
    """The error is the caller's, and nothing more is generated while they look at it."""

    def refuse(_: Any) -> None:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError) as error:
        ask(wrapped("turn/together/wait", Policy(callback=refuse)), stream=True)
    assert replay.was_left("turn/together/wait")
    del error


def test_async_is_the_same(wrapped: Callable[..., Any], run: Callable[..., Any]) -> None:
    """`ainvoke` and `astream` give what their sync forms give."""

    async def play() -> list[Any]:
        model = wrapped("late/tags", "stop")
        whole = await model.ainvoke(PROMPT)
        message: Any = None
        async for chunk in model.astream(PROMPT):
            message = chunk if message is None else message + chunk
        await model.root_async_client.close()
        return [whole, message]

    for message in run(play()):
        assert message.response_metadata["finish_reason"] == "content_filter"
        assert message.response_metadata["undertow"]["flagged"] is True
        assert message.content.endswith("[neutral] Here it is. ")


@both
def test_the_handler_watches(chat: Callable[..., Any], monitor: Monitor, stream: bool) -> None:
    """A callback handler judges any chat model, and changes nothing."""
    heard: list[Any] = []
    handler = wraps.UndertowHandler(monitor, on_verdict=lambda verdict, run_id: heard.append(verdict))
    model, config = chat("late/tags"), {"callbacks": [handler]}
    text = (
        "".join(str(c.content) for c in model.stream(PROMPT, config))
        if stream
        else model.invoke(PROMPT, config)
    )
    assert "[harm]" in str(text)
    assert [verdict.flagged for verdict in heard] == [True]
    assert list(handler.verdicts.values()) == heard


def test_the_handler_hears_of_errors(chat: Callable[..., Any], monitor: Monitor) -> None:
    """A run that broke off has a verdict that does not look whole."""
    handler = wraps.UndertowHandler(monitor)
    with pytest.raises(Exception, match="fell over"):
        list(chat("calm/tags/error").stream(PROMPT, {"callbacks": [handler]}))
    (verdict,) = handler.verdicts.values()
    assert verdict.assessed != "full"


def test_only_chat_models_are_wrapped(monitor: Monitor) -> None:
    """Other objects of the library are refused with a word on what can be wrapped."""
    with pytest.raises(UsageError, match="a chat model"):
        wrap(lc_openai.OpenAIEmbeddings(api_key="none"), monitor=monitor)


odd: Any = modules["odd"]  # it stands beside this file
ODD, POLICIES = odd.ODD, odd.POLICIES
policies = pytest.mark.parametrize("policy", POLICIES)

WRONG: Mapping[str, Any] = {"number": ODD, "list": [ODD], "object": {"said": ODD}, "truth": True}
FIELDS = ("reasoning_content", "reasoning")


class Told(BaseChatModel):
    """A chat model that says what it is told to say, block by block where it streams."""

    content: Any
    extra: Any = Field(default_factory=dict)

    @property
    def _llm_type(self) -> str:
        return "told"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(content=self.content, additional_kwargs=dict(self.extra), id="m")
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        parts = [[one] for one in self.content] if isinstance(self.content, list) else [self.content]
        for number, part in enumerate(parts):
            extra = {} if number else dict(self.extra)
            message = AIMessageChunk(content=part, additional_kwargs=extra, id="m")
            yield ChatGenerationChunk(message=message)
        end = AIMessageChunk(content="", id="m", response_metadata={"finish_reason": "stop"})
        yield ChatGenerationChunk(message=end)

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in Told._stream(self, messages):
            yield chunk


def holds_to(policy: str, message: Any, verdict: TraceVerdict) -> None:
    """Check that what could not be read is told, and has left only where the policy is open."""
    assert verdict.assessed != "full"
    assert verdict.not_assessed is not None
    assert verdict.not_assessed.reason == "wrong_types"
    del message.response_metadata["undertow"]
    closed = POLICIES[policy].closed("reasoning")
    assert not closed or f"{ODD}" not in str(message)
    assert closed or "All is well." in str(message)
    expected = {"observe": "stop", "redact, open": "stop", "divert": "stop"}.get(policy, "content_filter")
    assert message.response_metadata.get("finish_reason", "stop") == expected


def replying(said: Mapping[str, Any], *, stream: bool) -> httpx.Client:
    """Return a way to a server that says something, one field at a time where it streams."""

    def give(_: httpx.Request) -> httpx.Response:
        if not stream:
            choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}
            return httpx.Response(200, json={"id": "c", "model": "m", "choices": [choice]})
        deltas = [{"role": "assistant"}, *({name: one} for name, one in said.items()), {}]
        ends = [*(None for _ in deltas[1:]), "stop"]
        chunks = [
            {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}
            for delta, end in zip(deltas, ends, strict=True)
        ]
        text = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text)

    return httpx.Client(transport=httpx.MockTransport(give))


@both
@policies
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("wrong", WRONG)
def test_reasoning_of_the_wrong_type(
    *, monitor: Monitor, wrong: str, field: str, policy: str, stream: bool
) -> None:
    """What ChatOpenAI drops without a word is told where it was no text; nothing fails on it."""
    said = {"reasoning_content": "[neutral] A plan. ", field: WRONG[wrong], "content": "All is well."}
    with replying(said, stream=stream) as way:
        model = lc_openai.ChatOpenAI(model="m", api_key="none", max_retries=0, http_client=way)
        message, verdict = ask(wrap(model, monitor=monitor, policy=POLICIES[policy]), stream=stream)
    assert f"{ODD}" not in str(message)
    assert "undertow_unread" not in str(message)
    holds_to(policy, message, verdict)


@both
@policies
@pytest.mark.parametrize("wrong", WRONG)
def test_a_models_own_reasoning_of_the_wrong_type(
    *, monitor: Monitor, wrong: str, policy: str, stream: bool
) -> None:
    """The same for a class that keeps the reasoning itself."""
    model = Told(content="All is well.", extra={"reasoning_content": WRONG[wrong]})
    message, verdict = ask(wrap(model, monitor=monitor, policy=POLICIES[policy]), stream=stream)
    assert policy != "observe" or message.additional_kwargs == {"reasoning_content": WRONG[wrong]}
    holds_to(policy, message, verdict)


BLOCKS: Mapping[str, Any] = {
    "thinking": {"type": "thinking", "thinking": ODD},
    "thinking's parts": {"type": "thinking", "thinking": [{"type": "text", "text": ODD}]},
    "reasoning": {"type": "reasoning", "reasoning": {"said": ODD}},
    "summary": {"type": "reasoning", "summary": ODD},
    "summary, an object": {"type": "reasoning", "summary": {"text": f"{ODD}"}},
    "summary's parts": {"type": "reasoning", "summary": [ODD]},
    "content, beside a summary": {"type": "reasoning", "summary": [], "content": ODD},
}


@both
@policies
@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_of_the_wrong_type(*, monitor: Monitor, block: str, policy: str, stream: bool) -> None:
    """The same for reasoning in blocks of the content."""
    text = {"type": "text", "text": "All is well."}
    model = Told(content=[{"type": "reasoning", "reasoning": "[neutral] A plan. "}, BLOCKS[block], text])
    message, verdict = ask(wrap(model, monitor=monitor, policy=POLICIES[policy]), stream=stream)
    assert policy != "observe" or BLOCKS[block] in message.content
    holds_to(policy, message, verdict)


def test_async_streams_of_the_wrong_type(monitor: Monitor, run: Callable[..., Any]) -> None:
    """The same for a stream that an event loop reads."""

    async def play() -> Any:
        message: Any = None
        content = [{"type": "thinking", "thinking": ODD}, {"type": "text", "text": "All is well."}]
        async for chunk in wrap(Told(content=content), monitor=monitor, policy="stop").astream(PROMPT):
            message = chunk if message is None else message + chunk
        return message

    message = run(play())
    holds_to("stop", message, TraceVerdict.model_validate(message.response_metadata["undertow"]))


@both
@pytest.mark.parametrize("extra", [{"reasoning_content": ODD}, {}], ids=["field", "block"])
def test_the_handler_tells_of_wrong_types(monitor: Monitor, extra: Any, stream: bool) -> None:
    """Whoever only watches hears of it as well."""
    handler = wraps.UndertowHandler(monitor)
    content = "All is well." if extra else [{"type": "reasoning", "summary": ODD}]
    model, config = Told(content=content, extra=extra), RunnableConfig(callbacks=[handler])
    _ = list(model.stream(PROMPT, config)) if stream else model.invoke(PROMPT, config)
    (verdict,) = handler.verdicts.values()
    assert (verdict.assessed, verdict.not_assessed.reason) == ("partial" if extra else "none", "wrong_types")
