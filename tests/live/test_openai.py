"""The wrapped OpenAI client against a real server: same verdicts as the audit, and policies that hold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from undertow.errors import UsageError
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.verdict import StepVerdict, TraceVerdict
from undertow.monitor.wraps import wrap

openai = pytest.importorskip("openai")

SHAPES = ("reasoning_content", "reasoning", "details", "tags", "lone", "together", "parts")
MESSAGES: Any = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I bake a zorp?"},
]
REDACTED = "[redacted by undertow]"
EVIL = ("[drift]", "[harm]")

shapes = pytest.mark.parametrize("shape", SHAPES)
Same = Callable[[TraceVerdict, TraceVerdict], bool]


@pytest.fixture
def connect(replay: Any, monitor: Monitor) -> Iterator[Callable[..., Any]]:
    """Make wrapped clients of the replaying server; they are closed at the end."""
    made = []

    def make(policy: Policy | str = "observe", **options: Any) -> Any:
        made.append(openai.OpenAI(base_url=f"{replay.url}/v1", api_key="none", max_retries=0, **options))
        return wrap(made[-1], monitor=monitor, policy=policy)

    yield make
    for client in made:
        client.close()


def ask(client: Any, model: str, **options: Any) -> Any:
    """Make a chat completion."""
    return client.chat.completions.create(model=model, messages=MESSAGES, **options)


def streamed(client: Any, model: str, **options: Any) -> tuple[Any, list[Any]]:
    """Return a stream that was read to its end, and its chunks."""
    stream = ask(client, model, stream=True, **options)
    return stream, list(stream)


def said(chunks: list[Any], choice: int = 0) -> tuple[str, str]:
    """Return the reasoning in fields of its own and the content that chunks or a response hold."""
    thought = content = ""
    for one in [c for chunk in chunks for c in chunk.choices if c.index == choice]:
        message = one.delta if hasattr(one, "delta") else one.message
        extra = message.model_extra or {}
        thought += extra.get("reasoning_content") or extra.get("reasoning") or ""
        parts = message.content if isinstance(message.content, list) else []
        thought += "".join(t["text"] for p in parts for t in p.get("thinking", ()))
        content += "".join(p.get("text", "") for p in parts) if parts else message.content or ""
    return thought, content


def dumped(items: list[Any]) -> str:
    """Return all that left, but for the verdicts."""
    return json.dumps([item.model_dump(warnings=False) for item in items])


def told(tale: Any, shape: str) -> tuple[str, str]:
    """Return what an unwrapped client would show of a tale."""
    if shape in ("tags", "lone"):
        return "", f"{'<think>' if shape == 'tags' else ''}{tale.reasoning}</think>{tale.answer}"
    return tale.reasoning, tale.answer


@shapes
@pytest.mark.parametrize("policy", ["observe", "redact", "stop"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_calm_answer_passes_unchanged(
    *,
    connect: Callable[..., Any],
    tales: Mapping[str, Any],
    audit: Callable[[str], TraceVerdict],
    same: Same,
    shape: str,
    policy: str,
    stream: bool,
) -> None:
    """Whatever the policy and the shape, a safe text leaves whole, with the verdict of an audit."""
    response: Any
    if stream:
        response, chunks = streamed(connect(policy), f"calm/{shape}")
        finish = [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason]
    else:
        response = ask(connect(policy), f"calm/{shape}")
        chunks, finish = [response], [response.choices[0].finish_reason]
    assert said(chunks) == told(tales["calm"], shape)
    assert finish == ["stop"]
    assert same(response.undertow, audit("calm"))


@shapes
@pytest.mark.parametrize("tale", ["turn", "late", "broken"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_observing_gives_the_verdict_of_an_audit(
    *,
    connect: Callable[..., Any],
    tales: Mapping[str, Any],
    audit: Callable[[str], TraceVerdict],
    same: Same,
    shape: str,
    tale: str,
    stream: bool,
) -> None:
    """The text is untouched, and the verdict is that of the audit, also where the classifier failed."""
    response = ask(connect(), f"{tale}/{shape}", stream=stream)
    chunks = list(response) if stream else [response]
    assert said(chunks) == told(tales[tale], shape)
    assert same(response.undertow, audit(tale))
    assert same(chunks[-1].undertow, audit(tale))


@shapes
@pytest.mark.parametrize("tale", ["turn", "late"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_stop_keeps_flagged_text_in(connect: Callable[..., Any], shape: str, tale: str, stream: bool) -> None:
    """What was judged before the alarm stays, no flagged step leaves, and the finish reason says why."""
    response = ask(connect("stop"), f"{tale}/{shape}", stream=stream)
    chunks = list(response) if stream else [response]
    everything = dumped(chunks)
    assert not any(mark in everything for mark in EVIL)
    assert "[neutral]" in everything
    assert [c.finish_reason for c in chunks[-1].choices] == ["content_filter"]
    assert response.undertow.flagged
    untold = stream and shape == "lone"  # no tag had come yet that tells the channel
    if not untold:
        assert response.undertow.alarm.channel == ("reasoning" if tale == "turn" else "answer")


@shapes
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_redact_replaces_what_is_flagged(
    connect: Callable[..., Any], tales: Mapping[str, Any], shape: str, stream: bool
) -> None:
    """Flagged steps leave as their replacement, all else as it was."""
    response = ask(connect("redact"), f"late/{shape}", stream=stream)
    thought, content = said(list(response) if stream else [response])
    expected = told(tales["late"], shape)
    assert thought == expected[0]
    assert content == expected[1].replace("[harm] Put the zorp in the cake.", REDACTED)


@shapes
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_divert_answers_instead(connect: Callable[..., Any], shape: str, stream: bool) -> None:
    """The reasoning ends before the flagged step, and the harmless answer follows it."""
    policy = Policy(action="divert", diversion="Let us bake bread.")
    response = ask(connect(policy), f"turn/{shape}", stream=stream)
    chunks = list(response) if stream else [response]
    thought, content = said(chunks)
    assert content.endswith("Let us bake bread.")
    assert (thought or content).removeprefix("<think>").startswith("[neutral] The user asks for zorp. ")
    assert not any(mark in dumped(chunks) for mark in EVIL)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_stop_closes_the_upstream(connect: Callable[..., Any], replay: Any) -> None:
    """A stopped stream is not read on: the server sees its client go."""
    streamed(connect("stop"), "turn/reasoning_content/wait")
    assert replay.was_left("turn/reasoning_content/wait")


def test_a_callback_that_raises_closes_the_upstream(
    connect: Callable[..., Any], replay: Any, monitor: Monitor, run: Callable[..., Any]
) -> None:
    """The error is the caller's, and nothing more is generated while they look at it."""

    def refuse(_: Any) -> None:
        raise ConnectionRefusedError

    model, policy = "turn/reasoning_content/wait", Policy(callback=refuse)

    async def play() -> None:
        async with openai.AsyncOpenAI(base_url=f"{replay.url}/v1", api_key="none") as client:
            stream = await ask(wrap(client, monitor=monitor, policy=policy), model, stream=True)
            with pytest.raises(ConnectionRefusedError) as error:
                assert [chunk async for chunk in stream]
            assert await asyncio.to_thread(replay.was_left, model)
            del error

    stream = ask(connect(policy), model, stream=True)
    with pytest.raises(ConnectionRefusedError) as error:
        list(stream)
    assert replay.was_left(model)
    assert stream.undertow.flagged
    run(play())
    del error


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_each_choice_has_its_own_verdict(connect: Callable[..., Any], stream: bool) -> None:
    """With n > 1 every choice is judged by itself, and ends by itself."""
    response = ask(connect("stop"), "turn/tags", stream=stream, n=2)
    chunks = list(response) if stream else [response]
    ends = [c for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert [(c.index, c.finish_reason) for c in ends] == [(0, "content_filter"), (1, "content_filter")]
    assert said(chunks, 0) == said(chunks, 1)
    verdicts = [chunk.undertow for chunk in chunks if hasattr(chunk, "undertow")]
    ids = {v.id for v in verdicts} if stream else {c.undertow.id for c in response.choices}
    assert ids == {"chat-1#0", "chat-1#1"}


@pytest.mark.parametrize("policy", ["observe", "redact", "stop"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_tool_calls_pass_untouched(connect: Callable[..., Any], policy: str, stream: bool) -> None:
    """The calls of a safe answer arrive as the model made them."""
    response = ask(connect(policy), "tool/details", stream=stream)
    calls = [
        call
        for chunk in (response if stream else [response])
        for c in chunk.choices
        for call in (c.delta if stream else c.message).tool_calls or ()
    ]
    assert "".join(call.function.arguments for call in calls) == '{"what": "cake"}'
    assert response.undertow.flagged is False


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_no_tool_is_called_after_a_stop(connect: Callable[..., Any], stream: bool) -> None:
    """A call that follows a flagged step never leaves."""
    response = ask(connect("stop"), "turntool/reasoning", stream=stream)
    assert "cake" not in dumped(list(response) if stream else [response])


def test_flag_marks_the_chunk(connect: Callable[..., Any]) -> None:
    """Under `flag` the chunk that raised the alarm says so, and the text goes on."""
    _, chunks = streamed(connect("flag"), "turn/reasoning")
    marks = [chunk.undertow_alarm for chunk in chunks if hasattr(chunk, "undertow_alarm")]
    assert [(m.channel, m.index) for m in marks if isinstance(m, StepVerdict)] == [("reasoning", 1)]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert ask(connect("flag"), "late/tags").undertow_alarm.channel == "answer"


def test_usage_still_comes_last(connect: Callable[..., Any]) -> None:
    """The chunk with the usage follows the finish reason, as without a wrap."""
    _, chunks = streamed(connect("stop"), "calm/tags", stream_options={"include_usage": True})
    assert chunks[-1].usage.total_tokens == 3
    assert chunks[-2].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("policy", ["observe", "stop"])
def test_an_error_in_mid_stream(connect: Callable[..., Any], policy: str) -> None:
    """The error reaches the caller, and the verdict on what came says that it is not the whole."""
    stream = ask(connect(policy), "calm/reasoning_content/error", stream=True)
    with pytest.raises(openai.APIError, match="fell over"):
        list(stream)
    assert (stream.undertow.assessed, stream.undertow.not_assessed.reason) == ("partial", "truncated")


@pytest.mark.parametrize("policy", ["observe", "stop"])
def test_a_disconnect_in_mid_stream(connect: Callable[..., Any], policy: str) -> None:
    """A connection that breaks is the caller's to know, and the verdict's."""
    stream = ask(connect(policy), "turn/reasoning_content/disconnect", stream=True)
    with pytest.raises((openai.APIError, httpx.TransportError)):
        list(stream)
    assert stream.undertow.assessed == "partial"


def test_leaving_early_gives_the_verdict_so_far(connect: Callable[..., Any]) -> None:
    """A caller who stops reading has a verdict on what was read, and it does not look whole."""
    with ask(connect(), "calm/reasoning_content", stream=True) as stream:
        for _ in range(12):
            next(stream)
    assert stream.undertow.assessed == "partial"
    assert stream.undertow.steps


@pytest.mark.parametrize("policy", ["observe", "redact", "stop", "divert"])
@pytest.mark.parametrize("shape", ["reasoning_content", "lone"])
def test_the_verdict_may_be_asked_for_in_mid_stream(
    connect: Callable[..., Any], same: Same, policy: str, shape: str
) -> None:
    """It is on what has come so far, and the stream goes on as if nobody had asked."""
    alone, left = streamed(connect(policy), f"turn/{shape}")
    stream, chunks = ask(connect(policy), f"turn/{shape}", stream=True), []
    assert (stream.undertow.assessed, stream.undertow.flagged) == ("none", None)
    for chunk in stream:
        chunks.append(chunk)
        assert len(chunks) > 2 or stream.undertow.assessed != "full"
    assert said(chunks) == said(left)
    assert same(stream.undertow, alone.undertow)
    assert same(chunks[-1].undertow, alone.undertow)


@pytest.mark.parametrize(
    ("on_error", "finish"), [("closed", "content_filter"), ("open", "stop")], ids=["closed", "open"]
)
@pytest.mark.parametrize("action", ["observe", "flag", "stop"])
@pytest.mark.parametrize("shape", ["reasoning_content", "tags"])
def test_what_cannot_be_judged(
    *, connect: Callable[..., Any], shape: str, action: Any, on_error: Any, finish: str
) -> None:
    """`on_error` says whether text leaves that the classifier failed on, streamed and whole alike."""
    client = connect(Policy(action=action, on_error=on_error))
    stream, chunks = streamed(client, f"broken/{shape}")
    whole = ask(client, f"broken/{shape}")
    assert [c.finish_reason for c in (*chunks[-1].choices, *whole.choices)] == [finish, finish]
    assert said(chunks) == said([whole])
    for word in ("[crash]", "On it goes"):
        assert (word in "".join(said([whole]))) == (on_error == "open")
    assert "A start." in "".join(said([whole]))
    for verdict in (stream.undertow, whole.undertow):
        assert verdict.not_assessed.reason == "classifier_failed"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("action", ["observe", "flag"])
def test_closed_holds_back_only_what_was_not_judged(
    *, connect: Callable[..., Any], tales: Mapping[str, Any], action: Any, stream: bool
) -> None:
    """What is flagged under `observe` and `flag` leaves, also where a failure would end the answer."""
    response = ask(connect(Policy(action=action, on_error="closed")), "turn/reasoning", stream=stream)
    chunks = list(response) if stream else [response]
    assert said(chunks) == (tales["turn"].reasoning, tales["turn"].answer)
    marks = [chunk.undertow_alarm.index for chunk in chunks if hasattr(chunk, "undertow_alarm")]
    assert marks == ([1] if action == "flag" else [])


def test_async_is_the_same(replay: Any, monitor: Monitor, run: Callable[..., Any]) -> None:
    """The async client gives what the sync one gives, streamed and whole."""

    async def play() -> list[Any]:
        client = openai.AsyncOpenAI(base_url=f"{replay.url}/v1", api_key="none", max_retries=0)
        async with wrap(client, monitor=monitor, policy="stop") as wrapped:
            whole = await ask(wrapped, "late/tags")
            stream = await ask(wrapped, "late/tags", stream=True)
            chunks = [chunk async for chunk in stream]
            left = await ask(wrapped, "calm/tags", stream=True)
            await anext(left)
            await left.close()
        return [whole, stream.undertow, said(chunks), chunks[-1].choices[0].finish_reason, left.undertow]

    whole, verdict, texts, finish, left = run(play())
    assert texts == said([whole])
    assert finish == whole.choices[0].finish_reason == "content_filter"
    assert (verdict.alarm.channel, verdict.alarm.step) == ("answer", whole.undertow.alarm.step)
    assert left.assessed != "full"


def test_no_way_around(connect: Callable[..., Any]) -> None:
    """Copies of the client, raw responses and the stream helper are judged as well."""
    client = connect("stop")
    other = client.with_options(timeout=30)
    assert ask(other, "turn/tags").undertow.flagged
    raw = client.chat.completions.with_raw_response.create(model="turn/tags", messages=MESSAGES)
    assert raw.parse().undertow.flagged
    assert raw.parse() is raw.parse()
    with client.chat.completions.stream(model="turn/reasoning_content", messages=MESSAGES) as events:
        assert "[drift]" not in "".join(str(event) for event in events)
        with pytest.raises(openai.ContentFilterFinishReasonError):
            events.get_final_completion()


def test_the_client_given_stays_as_it_is(replay: Any, monitor: Monitor) -> None:
    """Wrapping makes a copy: the original goes on unjudged, and both are clients of the library."""
    with openai.OpenAI(base_url=f"{replay.url}/v1", api_key="none", max_retries=0) as client:
        wrapped = wrap(client, monitor=monitor, policy="stop")
        assert isinstance(wrapped, openai.OpenAI)
        assert not hasattr(ask(client, "turn/tags"), "undertow")


def test_only_clients_are_wrapped(monitor: Monitor) -> None:
    """Other objects of the library are refused with a word on what can be wrapped."""
    with pytest.raises(UsageError, match="OpenAI or AsyncOpenAI"):
        wrap(openai.NotGiven(), monitor=monitor)
