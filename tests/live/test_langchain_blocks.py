"""LangChain's contents in all the forms in which providers write them, and models that call themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from pydantic import PrivateAttr

from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap

pytest.importorskip("langchain_core")

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables.config import run_in_executor

from undertow.monitor.wraps.langchain import UndertowHandler

PROMPT = "How do I bake a zorp?"
CALM = "[neutral] The user asks for zorp. "
EVIL = "[harm] The zorp is bad. [harm] It gets worse. "
KEPT = CALM + "[redacted by undertow] "
SAFE = "[neutral] Here it is."

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


class Written(BaseChatModel):
    """A chat model that writes the parts of a content, in chunks where it streams."""

    parts: Any
    """The parts of the content; those of one block have the same `index`."""
    metadata: Any = None

    @property
    def _llm_type(self) -> str:
        return "written"

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(content=self.parts, response_metadata=self.metadata or {}, id="m")
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for part in self.parts:
            message = AIMessageChunk(content=[part], response_metadata=self.metadata or {}, id="m")
            yield ChatGenerationChunk(message=message)
        end = AIMessageChunk(content=[], response_metadata={"stopReason": "end_turn"}, id="m")
        yield ChatGenerationChunk(message=end)


def ask(model: Any, *, stream: bool) -> tuple[Any, TraceVerdict]:
    """Return the message and its verdict, which is taken out."""
    message: Any = None
    if stream:
        for chunk in model.stream(PROMPT):
            message = chunk if message is None else message + chunk
    else:
        message = model.invoke(PROMPT)
    return message, TraceVerdict.model_validate(message.response_metadata.pop("undertow"))


def bedrock(text: str) -> Any:
    """Return reasoning as ChatBedrockConverse gives it."""
    return {"type": "reasoning_content", "reasoning_content": {"text": text}, "index": 0}


FORMS: Mapping[str, Callable[[str], Any]] = {
    "thinking": lambda text: {"type": "thinking", "thinking": text, "index": 0},
    "reasoning": lambda text: {"type": "reasoning", "reasoning": text, "index": 0},
    "summary": lambda text: {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text, "index": 0}],
        "index": 0,
    },
    "content": lambda text: {
        "type": "reasoning",
        "content": [{"type": "reasoning_text", "text": text, "index": 0}],
        "index": 0,
    },
    "text": lambda text: {"type": "reasoning", "text": text, "index": 0},
    "bedrock": bedrock,
    "bedrock, plain": lambda text: {"type": "reasoning_content", "reasoning_content": text, "index": 0},
}
forms = pytest.mark.parametrize("form", FORMS)


@both
@forms
def test_reasoning_is_read_in_every_form(monitor: Monitor, form: str, stream: bool) -> None:
    """It is judged as reasoning, and where it was flagged its form stays as it was."""
    parts = [FORMS[form](CALM), FORMS[form](EVIL), {"type": "text", "text": SAFE, "index": 1}]
    if not stream:
        parts = [FORMS[form](CALM + EVIL), parts[-1]]
    _, verdict = ask(wrap(Written(parts=parts), monitor=monitor), stream=stream)
    assert [(one.channel, one.flagged) for one in verdict.channels] == [
        ("reasoning", True),
        ("answer", False),
    ]
    message, _ = ask(wrap(Written(parts=parts), monitor=monitor, policy="redact"), stream=stream)
    redacted = [FORMS[form](KEPT), {"type": "text", "text": SAFE, "index": 1}]
    assert message.content == redacted


@both
@forms
@pytest.mark.parametrize("policy", ["stop", "divert"])
def test_flagged_reasoning_ends_in_every_form(monitor: Monitor, form: str, policy: str, stream: bool) -> None:
    """Nothing flagged leaves, nor what was to come after it."""
    parts = [FORMS[form](CALM), FORMS[form](EVIL), {"type": "text", "text": SAFE, "index": 1}]
    message, _ = ask(wrap(Written(parts=parts), monitor=monitor, policy=policy), stream=stream)
    assert "[harm]" not in str(message)
    assert SAFE not in str(message)
    assert CALM.strip() in str(message.content)


@pytest.mark.parametrize("policy", ["redact", "stop", "divert"])
@pytest.mark.parametrize(
    "block",
    [{"type": "output_text", "text": EVIL}, {"text": EVIL}, {"type": "new", "content": EVIL}],
    ids=["output_text", "no type", "a new type"],
)
def test_what_was_judged_is_held_back(monitor: Monitor, block: Any, policy: str) -> None:
    """A block of any type, the text of which was read, does not leave beside the end that its chunk marks."""

    class Ending(Written):
        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            yield ChatGenerationChunk(message=AIMessageChunk(content=[CALM], id="m"))
            end = AIMessageChunk(content=[block], response_metadata={"stopReason": "end_turn"}, id="m")
            yield ChatGenerationChunk(message=end)

    message, verdict = ask(wrap(Ending(parts=[]), monitor=monitor, policy=policy), stream=True)
    assert verdict.flagged
    assert "[harm]" not in str(message)


@both
def test_the_standard_blocks_of_what_was_redacted(monitor: Monitor, stream: bool) -> None:
    """LangChain finds the reasoning of a redacted answer where it finds that of the model's own."""
    parts = [bedrock(CALM + EVIL), {"type": "text", "text": SAFE, "index": 1}]
    model = Written(parts=parts, metadata={"model_provider": "bedrock_converse"}, output_version="v1")
    message, _ = ask(wrap(model, monitor=monitor, policy="redact"), stream=stream)
    said = {block["type"]: block[block["type"]] for block in message.content_blocks}
    assert said == {"reasoning": KEPT, "text": SAFE}


def test_a_signature_goes_with_its_text(monitor: Monitor) -> None:
    """It would not fit the text that stands in place of the flagged one."""
    inner = {"text": CALM + EVIL, "signature": "signed"}
    parts = [{"type": "reasoning_content", "reasoning_content": inner}, {"type": "text", "text": SAFE}]
    message, _ = ask(wrap(Written(parts=parts), monitor=monitor), stream=False)
    assert message.content == parts
    message, _ = ask(wrap(Written(parts=parts), monitor=monitor, policy="redact"), stream=False)
    assert message.content[0] == {"type": "reasoning_content", "reasoning_content": {"text": KEPT}}


@both
@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"type": "redacted_thinking", "data": "x"}, "encrypted"),
        ({"type": "reasoning_content", "reasoning_content": {"redacted_content": "x"}}, "encrypted"),
        ({"type": "reasoning", "summary": [], "encrypted_content": "x"}, "encrypted"),
        ({"type": "reasoning", "extras": {"redacted_content": "x"}}, "encrypted"),
        ({"type": "reasoning", "summary": [{"type": "summary_text", "text": CALM}]}, "summary_only"),
        ({"type": "reasoning_content", "reasoning_content": {"text": CALM, "signature": "x"}}, None),
        ({"type": "reasoning", "reasoning": CALM, "encrypted_content": "x"}, None),
    ],
    ids=["thinking", "bedrock", "openai", "standard", "summary", "signed", "both"],
)
def test_what_was_kept_back_is_told(monitor: Monitor, block: Any, reason: str | None, stream: bool) -> None:
    """Reasoning that a provider encrypts or sums up was not judged in full, and the verdict says so."""
    parts = [block, {"type": "text", "text": SAFE}]
    message, verdict = ask(wrap(Written(parts=parts), monitor=monitor), stream=stream)
    assert block in message.content
    assert (verdict.not_assessed.reason if verdict.not_assessed else None) == reason


@both
@pytest.mark.parametrize("by_handler", [False, True], ids=["wrap", "handler"])
def test_the_model_tells_a_summary(monitor: Monitor, stream: bool, by_handler: bool) -> None:
    """Claude's thinking is a summary, whichever chunk of a stream names the model."""
    block = {"type": "thinking", "thinking": CALM, "index": 0}

    class Named(Written):
        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            named = AIMessageChunk(content=[], response_metadata={"model_name": "claude-opus-4-5"}, id="m")
            yield ChatGenerationChunk(message=named)
            yield from super()._stream(messages, *args, **kwargs)

    metadata = None if stream else {"model_name": "claude-opus-4-5"}
    model = Named(parts=[block, {"type": "text", "text": SAFE}], metadata=metadata)
    if by_handler:
        handler = UndertowHandler(monitor)
        config: Any = {"callbacks": [handler]}
        _ = list(model.stream(PROMPT, config)) if stream else model.invoke(PROMPT, config)
        (verdict,) = handler.verdicts.values()
    else:
        _, verdict = ask(wrap(model, monitor=monitor), stream=stream)
    assert verdict.not_assessed
    assert (verdict.assessed, verdict.not_assessed.reason) == ("partial", "summary_only")


@both
@pytest.mark.parametrize("block", [CALM, {"type": "text", "text": CALM}], ids=["alone", "beside a block"])
def test_plain_text_in_a_list(monitor: Monitor, block: Any, stream: bool) -> None:
    """It is answer like any other: judged, held back, and put back as text."""
    parts = [block, EVIL]
    message, verdict = ask(wrap(Written(parts=parts), monitor=monitor), stream=stream)
    assert str(message.text) == CALM + EVIL
    assert verdict.flagged
    assert verdict.not_assessed is not None
    assert verdict.not_assessed.reason == "no_reasoning"
    message, _ = ask(wrap(Written(parts=parts), monitor=monitor, policy="redact"), stream=stream)
    assert str(message.text) == KEPT


@both
def test_the_handler_reads_them_too(monitor: Monitor, stream: bool) -> None:
    """Whoever only watches has the same verdict."""
    handler = UndertowHandler(monitor)
    model = Written(parts=[bedrock(CALM), bedrock(EVIL), SAFE])
    _ = (
        list(model.stream(PROMPT, {"callbacks": [handler]}))
        if stream
        else model.invoke(PROMPT, {"callbacks": [handler]})
    )
    (verdict,) = handler.verdicts.values()
    assert [(one.channel, one.flagged) for one in verdict.channels] == [
        ("reasoning", True),
        ("answer", False),
    ]


def test_the_first_alarm_is_told(monitor: Monitor) -> None:
    """Reasoning and answer both raise one; LangChain cannot add up chunks that tell of two."""
    parts = [
        FORMS["thinking"](EVIL),
        {"type": "text", "text": EVIL, "index": 1},
        {"type": "text", "text": SAFE},
    ]
    message, verdict = ask(wrap(Written(parts=parts), monitor=monitor, policy="flag"), stream=True)
    assert [one.flagged for one in verdict.channels] == [True, True]
    assert message.response_metadata["undertow_alarm"]["channel"] == "reasoning"


class Itself(Written):
    """A chat model each of whose methods calls another, as those of many providers do."""

    _asked: int = PrivateAttr(default=0)

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(self._stream(messages))

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self._asked += 1
        yield from super()._stream(messages)

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        chunks = [chunk async for chunk in self._astream(messages)]
        return generate_from_stream(iter(chunks))

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        chunks = await run_in_executor(None, self._stream, messages)
        while (chunk := await run_in_executor(None, next, chunks, None)) is not None:
            yield chunk


async def _joined(chunks: AsyncIterator[Any]) -> Any:
    message: Any = None
    async for chunk in chunks:
        message = chunk if message is None else message + chunk
    return message


WAYS: Mapping[str, Callable[[Any], Any]] = {
    "invoke": lambda model: model.invoke(PROMPT),
    "ainvoke": lambda model: asyncio.run(model.ainvoke(PROMPT)),
    "stream": lambda model: asyncio.run(_joined(_aiter(model.stream(PROMPT)))),
    "astream": lambda model: asyncio.run(_joined(model.astream(PROMPT))),
}


async def _aiter(chunks: Iterator[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Written, Itself])
def test_an_answer_is_judged_once(monitor: Monitor, kind: Any, way: str) -> None:
    """Whichever of its methods a model calls in turn, the callback hears of each event once."""
    heard: list[str] = []
    policy = Policy(action="flag", callback=lambda event: heard.append(event.cause))
    thoughts = [FORMS["thinking"](text) for text in (CALM, EVIL)]
    model = kind(parts=[*thoughts, {"type": "text", "text": SAFE, "index": 1}])
    message = WAYS[way](wrap(model, monitor=monitor, policy=policy))
    assert heard == ["alarm"]
    assert message.response_metadata["undertow"]["flagged"] is True


def test_a_models_own_state_stays_its_own(monitor: Monitor) -> None:
    """What a model notes of itself while it writes is there at the next call."""
    model = wrap(Itself(parts=[SAFE]), monitor=monitor)
    _ = model.invoke(PROMPT), model.invoke(PROMPT)
    assert model._asked == 2


class Events(Written):
    """A chat model that has events of its own, which do not come from `_stream`."""

    def _stream_chat_model_events(self, messages: Any, **kwargs: Any) -> Iterator[Any]:
        raise AssertionError("nobody would judge these")


def test_no_way_leads_past_the_judge(monitor: Monitor) -> None:
    """A stream of events is made of what was judged."""
    model = Events(parts=[FORMS["reasoning"](text) for text in (CALM, EVIL)])
    events = list(wrap(model, monitor=monitor, policy="stop").stream_events(PROMPT, version="v3"))
    assert CALM.strip() in str(events)
    assert "[harm]" not in str(events)
    assert '"flagged": True' in str(events).replace("'", '"')
