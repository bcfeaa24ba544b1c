"""The proxy before an API that speaks like Anthropic's, with the real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from sys import modules
from typing import Any

import httpx
import pytest

from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps.proxy.call import kind_of

anthropic = pytest.importorskip("anthropic")
serving: Any = modules["serving"]  # it stands beside this file

Audit = Callable[[str], TraceVerdict]
Same = Callable[[TraceVerdict, TraceVerdict], bool]
Start = Callable[..., str]
Connect = Callable[[str], Any]

EVIL = ("hide the zorp", "zorp below", "zorp in the cake")

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture
def connect(start: Start) -> Iterator[Connect]:
    """Gives the real client, pointed at a proxy with some policy."""
    made = []

    def point(policy: str) -> Any:
        url = start(policy=policy)
        made.append(anthropic.Anthropic(base_url=url, api_key="k", max_retries=0))
        return made[-1]

    yield point
    for client in made:
        client.close()


def ask(client: Any, model: str, *, stream: bool) -> tuple[Any, Any, str]:
    """Return the message, what stands under `undertow`, and all that came."""
    options: Any = {"model": model, "max_tokens": 99, "messages": serving.ASKED}
    if not stream:
        message = client.messages.create(**options)
        return message, message.undertow, json.dumps(message.model_dump(exclude={"undertow"}))
    events = list(client.messages.create(stream=True, **options))
    with client.messages.stream(**options) as helper:  # the library puts the events together
        message = helper.get_final_message()
    shown = json.dumps([event.model_dump(warnings=False, exclude={"undertow"}) for event in events])
    return message, events[-1].undertow, shown


def texts(message: Any) -> list[str]:
    """Return the texts of a message's blocks, in order."""
    return [getattr(b, b.type) for b in message.content if b.type in ("thinking", "text")]


@both
@pytest.mark.parametrize("policy", ["observe", "stop"])
@pytest.mark.parametrize("tale", ["calm", "tool"])
def test_a_calm_message_passes(
    *,
    connect: Connect,
    tales: Mapping[str, Any],
    audit: Audit,
    same: Same,
    tale: str,
    policy: str,
    stream: bool,
) -> None:
    """Texts, signatures and tools arrive as they were made, with the verdict of an audit."""
    message, said, _ = ask(connect(policy), f"{tale}/", stream=stream)
    assert texts(message) == [tales[tale].reasoning, tales[tale].answer]
    assert message.content[0].signature == "c2lnbmVk"
    assert message.stop_reason == ("tool_use" if tale == "tool" else "end_turn")
    assert same(serving.verdicts_in(said)[0], audit(tale))


@both
@pytest.mark.parametrize("tale", ["turn", "late"])
def test_watching_gives_the_verdict_of_an_audit(
    *, connect: Connect, audit: Audit, same: Same, tale: str, stream: bool
) -> None:
    """What is flagged passes under `observe`, and the verdict is the audit's."""
    _, said, everything = ask(connect("observe"), f"{tale}/", stream=stream)
    assert said["flagged"] is True
    assert same(serving.verdicts_in(said)[0], audit(tale))
    assert "[harm]" in everything or stream  # a stream has it in parts


@both
@pytest.mark.parametrize(
    ("policy", "tale", "reason", "last"),
    [
        ("stop", "turn", "refusal", "[neutral] The user asks for zorp. "),
        ("stop", "late", "refusal", "[neutral] Here it is. "),
        ("stop", "turntool", "refusal", "[neutral] The user asks for zorp. "),
        ("redact", "turn", "end_turn", "[neutral] I cannot help with that."),
        ("divert", "turn", "end_turn", "I can't help with that, but I'm glad to help with something else."),
    ],
)
def test_flagged_text_never_leaves(
    *, connect: Connect, policy: str, tale: str, reason: str, last: str, stream: bool
) -> None:
    """Under a policy that holds text back, nothing flagged comes, nor a tool's call after it."""
    message, said, everything = ask(connect(policy), f"{tale}/", stream=stream)
    assert said["flagged"] is True
    assert not any(word in everything for word in (*EVIL, "toolu_1"))
    assert (message.stop_reason, texts(message)[-1]) == (reason, last)


@both
def test_hidden_thinking_is_said(connect: Connect, stream: bool) -> None:
    """Thinking that came encrypted makes the verdict partial."""
    _, said, _ = ask(connect("observe"), "calm/redacted", stream=stream)
    (verdict,) = serving.verdicts_in(said)
    assert (verdict.assessed, verdict.not_assessed.reason) == ("partial", "encrypted")


@pytest.mark.parametrize("policy", ["observe", "stop"])
@pytest.mark.parametrize("fault", ["error", "disconnect"])
def test_a_stream_that_breaks(connect: Connect, policy: str, fault: str) -> None:
    """The client raises its own error, which holds the verdict on what came."""
    stream = connect(policy).messages.create(
        model=f"calm//{fault}", max_tokens=9, messages=serving.ASKED, stream=True
    )
    with pytest.raises(anthropic.APIStatusError) as raised:
        list(stream)
    (verdict,) = raised.value.body["undertow"]["verdicts"]
    assert (verdict["assessed"], verdict["not_assessed"]["reason"]) == ("partial", "truncated")


@pytest.mark.parametrize("policy", ["observe", "flag"])
def test_a_watched_stream_is_what_upstream_sent(
    start: Start, http: httpx.Client, replay: Any, policy: str
) -> None:
    """Every byte of upstream's passes; the last event has the verdict, and `flag` marks the alarm."""
    asked = {"model": "turn/", "max_tokens": 9, "messages": serving.ASKED, "stream": True}
    direct = http.post(f"{replay.url}/v1/messages", json=asked).text.rstrip().split("\n\n")
    *events, last = http.post(f"{start(policy=policy)}/v1/messages", json=asked).text.rstrip().split("\n\n")
    assert [event for event in events if "undertow" not in event] == direct[:-1]
    assert last.startswith('event: message_stop\ndata: {"type":"message_stop","undertow":{"flagged":true')
    marks = [event for event in events if event.startswith("event: undertow.alarm")]
    assert len(marks) == (policy == "flag")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/messages", "messages"),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/threads/t/messages", None),
        ("/v1/chat//completions/", "chat"),
    ],
)
def test_only_the_route_that_generates_is_judged(path: str, kind: str | None) -> None:
    """Others, also of other APIs, pass."""
    assert kind_of("POST", path) == kind
