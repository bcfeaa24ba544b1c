"""Answers with fields of the wrong type: nobody's call fails on them, and no verdict calls them judged."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from sys import modules
from typing import Any, TypeAlias

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.monitor.policy import GateEvent, Policy
from undertow.monitor.wraps import wrap
from undertow.monitor.wraps.answers import Answer, Asked
from undertow.monitor.wraps.chat import ChatAnswer
from undertow.monitor.wraps.messages import MessagesAnswer
from undertow.monitor.wraps.proxy import create_app
from undertow.monitor.wraps.responses import ResponsesAnswer
from undertow.testing import scripted_monitor

openai = pytest.importorskip("openai")

Json: TypeAlias = dict[str, Any]

replay, odd = modules["replay"], modules["odd"]  # they stand beside this file
MONITOR = scripted_monitor()
ODD = odd.ODD
POLICIES = {**odd.POLICIES, "flag, closed": Policy(action="flag", on_error="closed")}
KINDS: Mapping[str, tuple[type[Answer], tuple[str, ...]]] = {
    "completions": (ChatAnswer, replay.SHAPES),
    "responses": (ResponsesAnswer, ("text", "summary")),
    "messages": (MessagesAnswer, ("", "redacted")),
}

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

names = st.sampled_from(["type", "text", "index", "content", "choices", "delta"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


def told(api: str, shape: str, tale: str = "turntool", *, stream: bool) -> list[Json]:
    """Return the payloads of an answer."""
    made = replay.APIS[api](replay.TALES[tale], shape, {"model": "m", "n": 2})
    if not stream:
        return [made.whole()]
    lines = [line for event in made.events() for line in event.decode().splitlines()]
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths to all that stands in a payload."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


def put(payload: Json, at: tuple[Any, ...], value: Any) -> Json:
    """Return a payload with something else in one place."""
    payload = copy.deepcopy(payload)
    holder: Any = payload
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = value
    return payload


@st.composite
def mangled(draw: st.DrawFn, api: str, *, stream: bool) -> list[Json]:
    """Draw an answer, some of whose fields hold something else."""
    payloads = told(api, draw(st.sampled_from(KINDS[api][1])), stream=stream)
    for _ in range(draw(st.integers(1, 3))):
        which = draw(st.integers(0, len(payloads) - 1))
        at = draw(st.sampled_from([*places(payloads[which])] or [("zorp",)]))
        payloads[which] = put(payloads[which], at, draw(junk))
    return payloads


def judging(api: str, policy: str) -> Answer:
    """Return what judges an answer."""
    choices = 2 if api == "completions" else 1
    return KINDS[api][0](Asked(MONITOR, POLICIES[policy], prompt="p", choices=choices))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("api", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_mangled_stream_passes(api: str, policy: str, data: st.DataObject) -> None:
    """Nothing raises, there is a verdict, and under `observe` every payload leaves as it came, once."""
    payloads = data.draw(mangled(api, stream=True))
    answer = KINDS[api][0](
        Asked(MONITOR, POLICIES[policy], prompt="p", choices=2 if api == "completions" else 1)
    )
    outs = [out for payload in payloads for out in answer.take(payload, answer.read(payload))]
    outs += answer.end()
    assert answer.verdicts
    assert json.dumps([out.payload for out in outs])
    if policy == "observe":
        assert sorted(id(out.payload) for out in outs) == sorted(map(id, payloads))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("api", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_mangled_answer_passes(api: str, policy: str, data: st.DataObject) -> None:
    """The same for one that came whole."""
    (payload,) = data.draw(mangled(api, stream=False))
    answer = KINDS[api][0](
        Asked(MONITOR, POLICIES[policy], prompt="p", choices=2 if api == "completions" else 1)
    )
    judged = answer.whole(payload)
    assert answer.verdicts
    assert json.dumps(judged)
    assert policy != "observe" or judged is payload


@pytest.mark.parametrize(
    ("at", "value"),
    [
        pytest.param(("response",), None, id="no response"),
        pytest.param(("response",), "hide the zorp", id="a text for a response"),
        pytest.param(("response", "output"), {"0": "hide the zorp"}, id="an object for the output"),
        pytest.param(("response", "output", 0), None, id="no item"),
        pytest.param(("response", "output", 0), "hide the zorp", id="a text for an item"),
    ],
)
def test_a_mangled_last_event_repeats_nothing(at: tuple[Any, ...], value: Any) -> None:
    """What was redacted does not come back by an end of the wrong shape, and there is an end."""
    payloads = told("responses", "text", stream=True)
    payloads[-1] = put(payloads[-1], at, value)
    answer = judging("responses", "redact, open")
    outs = [out for payload in payloads for out in answer.take(payload, answer.read(payload))]
    outs += answer.end()
    assert answer.verdicts[0].flagged
    assert outs[-1].payload["type"] == "response.completed"
    assert outs[-1].payload["response"]["output"]
    assert "the zorp" not in json.dumps([out.payload for out in outs])


WRONG: Mapping[str, tuple[tuple[Any, ...], Any]] = {
    "content is a number": (("choices", 0, "message", "content"), ODD),
    "content is an object": (("choices", 0, "message", "content"), {"said": ODD}),
    "a part of the content is a number": (("choices", 0, "message", "content"), [ODD]),
    "reasoning is an object": (("choices", 0, "message", "reasoning_content"), {"steps": [ODD]}),
    "reasoning is a list": (("choices", 0, "message", "reasoning_content"), [ODD]),
    "the details are a text": (("choices", 0, "message", "reasoning_details"), f"{ODD}"),
    "the message is a text": (("choices", 0, "message"), f"{ODD}"),
    "the choice is a list": (("choices", 0), [ODD]),
    "the choices are an object": (("choices",), {"0": ODD}),
}
wrongs = pytest.mark.parametrize("wrong", WRONG)


def wrongly(wrong: str, *, stream: bool) -> list[Json]:
    """Return an answer with one field of the wrong type; in a stream, it is the fourth payload's."""
    at, value = WRONG[wrong]
    whole = replay.APIS["completions"](replay.TALES["calm"], "reasoning_content", {"model": "m"})
    if not stream:
        return [put(whole.whole(), at, value)]
    payloads = told("completions", "reasoning_content", "calm", stream=True)
    payloads = [one for one in payloads if not one["choices"][0]["index"]]
    renamed = tuple("delta" if key == "message" else key for key in at)
    payloads[3] = put(payloads[3], renamed, value)
    return payloads


def answering(payloads: list[Json], *, stream: bool) -> httpx.MockTransport:
    """Return an upstream that gives an answer."""

    def give(_: httpx.Request) -> httpx.Response:
        if not stream:
            return httpx.Response(200, json=payloads[0])
        events = [f"data: {json.dumps(one)}\n\n" for one in payloads]
        kind = {"content-type": "text/event-stream"}
        return httpx.Response(200, headers=kind, text="".join([*events, "data: [DONE]\n\n"]))

    return httpx.MockTransport(give)


def dumped(response: Any, *, stream: bool) -> list[Any]:
    """Return what a client's caller gets, but for the verdicts."""
    return [one.model_dump(warnings=False) for one in (response if stream else [response])]


@pytest.fixture
def client() -> Iterator[Callable[..., Any]]:
    """Make OpenAI clients of an upstream."""
    made = []

    def make(payloads: list[Json], *, stream: bool) -> Any:
        inner = httpx.Client(transport=answering(payloads, stream=stream))
        made.append(openai.OpenAI(base_url="http://up/v1", api_key="k", max_retries=0, http_client=inner))
        return made[-1]

    yield make
    for one in made:
        one.close()


@wrongs
@both
def test_the_callers_call_does_not_fail(client: Callable[..., Any], wrong: str, stream: bool) -> None:
    """The client's caller gets what the client alone would give, and a verdict that says what is missing."""
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello."}], "stream": stream}
    plain = client(wrongly(wrong, stream=stream), stream=stream)
    wrapped = wrap(plain, monitor=MONITOR)
    response = wrapped.chat.completions.create(**asked)
    assert dumped(response, stream=stream) == dumped(plain.chat.completions.create(**asked), stream=stream)
    assert response.undertow.assessed != "full"
    assert response.undertow.not_assessed.reason == "wrong_types"


@wrongs
@both
@pytest.mark.parametrize("action", ["observe", "redact", "stop", "divert"])
def test_a_closed_policy_holds(*, client: Callable[..., Any], wrong: str, action: Any, stream: bool) -> None:
    """What could not be read never leaves, the answer ends there, and the callback hears of it."""
    events: list[GateEvent] = []
    policy = Policy(action=action, on_error="closed", callback=events.append)
    wrapped = wrap(client(wrongly(wrong, stream=stream), stream=stream), monitor=MONITOR, policy=policy)
    asked: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello."}], "stream": stream}
    response = wrapped.chat.completions.create(**asked)
    said = dumped(response, stream=stream)
    assert f"{ODD}" not in json.dumps(said)
    assert said[-1]["choices"][0]["finish_reason"] == ("stop" if action == "divert" else "content_filter")
    assert ("glad to help" in json.dumps(said)) == (action == "divert")
    assert [(event.cause, event.step) for event in events] == [("unjudged", None)]
    assert response.undertow.not_assessed.reason == "wrong_types"


@wrongs
@both
@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_the_proxy_passes_it(*, wrong: str, on_error: Any, stream: bool) -> None:
    """The proxy as well: as it came where the policy is open, ended where it is closed."""
    payloads = wrongly(wrong, stream=stream)
    app = create_app(
        "http://up",
        monitor=MONITOR,
        policy=Policy(on_error=on_error),
        transport=answering(payloads, stream=stream),
    )

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://proxy") as http:
            return await http.post("/v1/chat/completions", json={"messages": [], "stream": stream})

    answer = asyncio.run(ask())
    assert answer.status_code == 200
    assert (f"{ODD}" in answer.text) == (on_error == "open")
    assert ("content_filter" in answer.text) == (on_error == "closed")
    assert '"reason":"wrong_types"' in answer.text
