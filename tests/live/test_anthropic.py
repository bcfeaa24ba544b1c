"""The wrapped Anthropic client: thinking blocks, texts and tools of the Messages API."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from undertow.classifiers.contract import Probabilities, StepInput
from undertow.errors import UsageError
from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap
from undertow.testing import ScriptedClassifier, scripted_monitor

anthropic = pytest.importorskip("anthropic")

MESSAGES: Any = [{"role": "user", "content": [{"type": "text", "text": "How do I bake a zorp?"}]}]
REDACTED = "[redacted by undertow]"

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture
def connect(replay: Any, monitor: Monitor) -> Iterator[Callable[..., Any]]:
    """Make wrapped clients of the replaying server; they are closed at the end."""
    made = []

    def make(policy: Policy | str = "observe") -> Any:
        made.append(anthropic.Anthropic(base_url=replay.url, api_key="none", max_retries=0))
        return wrap(made[-1], monitor=monitor, policy=policy)

    yield make
    for client in made:
        client.close()


def ask(client: Any, model: str, *, stream: bool) -> tuple[Any, TraceVerdict, str]:
    """Return the message, its verdict, and all that left on the way."""
    options: Any = {"model": model, "max_tokens": 99, "messages": MESSAGES}
    if not stream:
        message = client.messages.create(**options)
        return message, message.undertow, json.dumps(message.model_dump(warnings=False))
    raw = client.messages.create(stream=True, **options)
    events = list(raw)
    with client.messages.stream(**options) as helper:  # the library puts the events together
        message = helper.get_final_message()
    return message, events[-1].undertow, json.dumps([event.model_dump(warnings=False) for event in events])


def texts(message: Any) -> list[str]:
    """Return the texts of a message's blocks, in order."""
    return [getattr(b, b.type) for b in message.content if b.type in ("thinking", "text")]


@both
@pytest.mark.parametrize("policy", ["observe", "stop"])
@pytest.mark.parametrize("tale", ["calm", "tool"])
def test_a_calm_message_passes_unchanged(
    *,
    connect: Callable[..., Any],
    tales: Mapping[str, Any],
    audit: Callable[[str], TraceVerdict],
    same: Callable[[TraceVerdict, TraceVerdict], bool],
    tale: str,
    policy: str,
    stream: bool,
) -> None:
    """Texts, signatures and tool calls arrive as they were made, with the verdict of an audit."""
    message, verdict, _ = ask(connect(policy), f"{tale}/", stream=stream)
    assert texts(message) == [tales[tale].reasoning, tales[tale].answer]
    assert message.content[0].signature == "c2lnbmVk"
    assert message.content[-1].type == ("tool_use" if tale == "tool" else "text")
    assert message.stop_reason == ("tool_use" if tale == "tool" else "end_turn")
    assert same(verdict, audit(tale))


@both
@pytest.mark.parametrize("tale", ["turn", "late", "turntool"])
def test_stop_ends_the_message(connect: Callable[..., Any], tale: str, stream: bool) -> None:
    """Nothing flagged leaves and nothing after it; the stop reason is the API's own for such cases."""
    message, verdict, everything = ask(connect("stop"), f"{tale}/", stream=stream)
    assert not any(word in everything for word in ("[drift]", "[harm]", "toolu_1"))
    assert message.stop_reason == "refusal"
    assert texts(message)[-1] in ("[neutral] The user asks for zorp. ", "[neutral] Here it is. ")
    assert verdict.flagged


@both
def test_redact_drops_the_signature(connect: Callable[..., Any], stream: bool) -> None:
    """A thinking block that was changed no longer carries the signature of the one that was written."""
    message, _, everything = ask(connect("redact"), "turn/", stream=stream)
    assert texts(message)[0] == f"[neutral] The user asks for zorp. {REDACTED}"
    assert message.content[0].signature == ""
    assert "[drift]" not in everything


@both
def test_divert_answers_in_a_block_of_its_own(connect: Callable[..., Any], stream: bool) -> None:
    """The thinking breaks off, and the harmless answer follows."""
    message, _, everything = ask(connect("divert"), "turn/", stream=stream)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert texts(message)[1].startswith("I can't help")
    assert message.stop_reason == "end_turn"
    assert "[drift]" not in everything


@both
def test_redacted_thinking_is_not_judged(connect: Callable[..., Any], stream: bool) -> None:
    """Thinking that the provider encrypted cannot be judged, and the verdict says so."""
    _, verdict, _ = ask(connect(), "calm/redacted", stream=stream)
    assert verdict.not_assessed
    assert (verdict.assessed, verdict.not_assessed.reason) == ("partial", "encrypted")


def test_an_error_in_mid_stream(connect: Callable[..., Any]) -> None:
    """The error reaches the caller, and the verdict on what came says that it is not the whole."""
    stream = connect("stop").messages.create(
        model="calm//error", max_tokens=9, messages=MESSAGES, stream=True
    )
    with pytest.raises(anthropic.APIStatusError):
        list(stream)
    assert stream.undertow.assessed != "full"


def test_async_is_the_same(replay: Any, monitor: Monitor, run: Callable[..., Any]) -> None:
    """The async client gives what the sync one gives."""

    async def play() -> list[Any]:
        client = anthropic.AsyncAnthropic(base_url=replay.url, api_key="none", max_retries=0)
        async with wrap(client, monitor=monitor, policy="stop") as wrapped:
            options: Any = {"model": "turn/", "max_tokens": 9, "messages": MESSAGES}
            whole = await wrapped.messages.create(**options)
            async with wrapped.messages.stream(**options) as events:
                final = await events.get_final_message()
        return [whole, final]

    whole, final = run(play())
    assert texts(whole) == texts(final) == ["[neutral] The user asks for zorp. "]
    assert whole.stop_reason == final.stop_reason == "refusal"
    assert whole.undertow.flagged


class _Noting(ScriptedClassifier):
    """Notes in which threads it is asked."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        self.threads.add(threading.get_ident())
        return super().predict_proba(steps)


@pytest.mark.parametrize("policy", ["observe", "stop", "redact"])
def test_the_event_loop_never_judges(replay: Any, run: Callable[..., Any], policy: str) -> None:
    """The classifier is asked in other threads than the loop's, at the ends of blocks as well."""
    classifier = _Noting()

    async def play() -> None:
        client = anthropic.AsyncAnthropic(base_url=replay.url, api_key="none", max_retries=0)
        async with wrap(client, monitor=scripted_monitor(classifier), policy=policy) as wrapped:
            options: Any = {"model": "tool/", "max_tokens": 9, "messages": MESSAGES}
            await wrapped.messages.create(**options)
            async for _ in await wrapped.messages.create(stream=True, **options):
                pass

    run(play())
    assert classifier.threads
    assert threading.get_ident() not in classifier.threads


def test_a_profile_has_to_be_one(monitor: Monitor) -> None:
    """A profile that is not known is refused where the client is wrapped."""
    with (
        anthropic.Anthropic(api_key="none") as client,
        pytest.raises(UsageError, match="unknown profile 'zorp'"),
    ):
        wrap(client, monitor=monitor, profile="zorp")


def test_only_clients_are_wrapped(monitor: Monitor) -> None:
    """Other objects of the library are refused with a word on what can be wrapped."""
    with pytest.raises(UsageError, match="Anthropic or AsyncAnthropic"):
        wrap(anthropic.NotGiven(), monitor=monitor)
