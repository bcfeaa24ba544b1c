"""The proxy, between a real client and a real server that replays reasoning: what is judged."""

from __future__ import annotations

import json
from collections.abc import Callable
from sys import modules
from typing import Any

import httpx
import pytest
from openai import APIError, OpenAI

from undertow.monitor.verdict import TraceVerdict

Audit = Callable[[str], TraceVerdict]
Same = Callable[[TraceVerdict, TraceVerdict], bool]
Start = Callable[..., str]
Point = Callable[[str], OpenAI]

serving: Any = modules["serving"]  # it stands beside this file
ASKED, ask, events_of = serving.ASKED, serving.ask, serving.events_of
said, verdicts_in = serving.said, serving.verdicts_in

CHAT = [f"/{shape}" for shape in ("reasoning_content", "reasoning", "details", "tags", "lone", "together")]
HOLDING = ["redact", "stop", "divert"]


@pytest.fixture
def openai(http: httpx.Client) -> Callable[[str], OpenAI]:
    """Gives the real client, pointed at a proxy."""

    def point(url: str) -> OpenAI:
        return OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, http_client=http)

    return point


@pytest.mark.parametrize("shape", CHAT)
@pytest.mark.parametrize(
    ("policy", "tale"),
    [("observe", "turn"), ("observe", "late"), ("observe", "tool"), ("flag", "turn"), ("flag", "broken")],
)
def test_a_watched_stream_is_what_upstream_sent(  # noqa: PLR0917
    start: Start,
    http: httpx.Client,
    replay: Any,
    audit: Audit,
    same: Same,
    shape: str,
    tale: str,
    policy: str,
) -> None:
    """Every byte of upstream's passes, before the verdict; and the verdict is the audit's."""
    asked = {"model": tale + shape, "messages": ASKED, "stream": True}
    direct = http.post(f"{replay.url}/v1/chat/completions", json=asked).text
    answer = http.post(f"{start(policy=policy)}/v1/chat/completions", json=asked)
    ours = [e for e in events_of(answer.text) if e != "[DONE]" and "undertow" in e]
    kept = [e for e in answer.text.split("\n\n") if '"undertow"' not in e]
    assert "\n\n".join(kept) == direct
    assert events_of(answer.text)[-2:] == [ours[-1], "[DONE]"]
    assert answer.headers["x-undertow"] == "judging"
    assert same(verdicts_in(ours[-1]["undertow"])[0], audit(tale))
    alarms = [one["undertow"]["alarm"] for one in ours[:-1]]
    assert bool(alarms) == (policy == "flag" and audit(tale).flagged)


@pytest.mark.parametrize("tale", ["calm", "turn", "broken"])
@pytest.mark.parametrize("shape", [*CHAT, "/parts"])
def test_a_whole_answer_carries_its_verdict(  # noqa: PLR0917
    start: Start, http: httpx.Client, replay: Any, audit: Audit, same: Same, shape: str, tale: str
) -> None:
    """Its bytes are upstream's with the verdict put in; the headers say the same in short."""
    asked = {"model": tale + shape, "messages": ASKED}
    direct = http.post(f"{replay.url}/v1/chat/completions", json=asked).text
    answer = http.post(f"{start()}/v1/chat/completions", json=asked)
    expected = audit(tale)
    assert answer.text.startswith(direct[:-1] + ',"undertow":')
    verdict = verdicts_in(answer.json()["undertow"])[0]
    assert same(verdict, expected)
    assert answer.headers["x-undertow"] == "judged"
    assert answer.headers["x-undertow-flagged"] == json.dumps(expected.flagged)
    short = json.loads(answer.headers["x-undertow-verdict"])
    assert short == {name: verdict.model_dump(mode="json")[name] for name in short}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("shape", ["/reasoning_content", "/reasoning", "/tags"])
@pytest.mark.parametrize(
    ("policy", "ending"), [("redact", "stop"), ("stop", "content_filter"), ("divert", "stop")], ids=HOLDING
)
def test_flagged_text_never_leaves(  # noqa: PLR0917
    start: Start, http: httpx.Client, policy: str, ending: str, shape: str, stream: bool
) -> None:
    """Under a policy that holds text back, what was flagged is in no byte that the client gets."""
    answer = http.post(**ask(start(policy=policy), "turn" + shape, stream=stream))
    assert "zorp below" not in answer.text
    assert "hide the zorp" not in answer.text
    assert "The user asks for zorp." in answer.text.replace('"},"finish_reason":null', "")
    assert ("glad to help with something else" in answer.text) == (policy == "divert")
    assert ("[redacted by undertow]" in answer.text) == (policy == "redact")
    assert f'"finish_reason":"{ending}"' in answer.text.replace(": ", ":")
    assert '"flagged":true' in answer.text


def test_what_is_not_flagged_passes_a_policy_that_holds(start: Start, http: httpx.Client, tales: Any) -> None:
    """Held text is all there at the end, in its channels and in order."""
    events = events_of(http.post(**ask(start(policy="stop"), "calm/reasoning", stream=True)).text)
    assert said(events, "reasoning") == tales["calm"].reasoning
    assert said(events, "content") == tales["calm"].answer


@pytest.mark.parametrize(("tale", "calls"), [("tool", True), ("turntool", False)])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_tools_are_not_called_after_a_stop(
    start: Start, http: httpx.Client, tale: str, calls: bool, stream: bool
) -> None:
    """A call of a tool passes, unless the policy has ended the generation before it."""
    answer = http.post(**ask(start(policy="stop"), f"{tale}/reasoning_content", stream=stream))
    assert ("tool_calls" in answer.text) == calls


def test_a_stop_closes_upstream(start: Start, http: httpx.Client, replay: Any) -> None:
    """What is no longer wanted is no longer generated."""
    model = "turn/reasoning_content/wait"
    http.post(**ask(start(policy="stop"), model, stream=True))
    assert replay.was_left(model)


def test_a_client_that_leaves_closes_upstream(start: Start, http: httpx.Client, replay: Any) -> None:
    """Nobody generates for a client that is gone."""
    model = "calm/reasoning/wait"
    with http.stream("POST", **ask(start(), model, stream=True)) as answer:
        next(answer.iter_bytes())
    assert replay.was_left(model)


@pytest.mark.parametrize("policy", ["observe", "redact"])
@pytest.mark.parametrize(
    ("fault", "message"), [("disconnect", "closed the connection"), ("error", "the model fell over")], ids=str
)
def test_a_stream_that_breaks_ends_well_formed(
    start: Start, http: httpx.Client, policy: str, fault: str, message: str
) -> None:
    """The client gets the verdict so far, an error, and the end; and the verdict is not full."""
    answer = http.post(**ask(start(policy=policy), f"calm/reasoning_content/{fault}", stream=True))
    *_, verdict, error, end = events_of(answer.text)
    assert end == "[DONE]"
    assert message in error["error"]["message"]
    assert len([e for e in events_of(answer.text) if "error" in e]) == 1
    (found,) = verdicts_in(verdict["undertow"])
    assert (found.assessed, found.quadrant) == ("partial", None)
    assert found.not_assessed
    assert found.not_assessed.reason == "truncated"


def test_the_real_client_reads_verdicts(start: Start, openai: Point, audit: Audit, same: Same) -> None:
    """The openai client, told of nothing but another base URL, has the verdict and every choice."""
    client = openai(start())
    whole: Any = client.chat.completions.create(model="turn/reasoning_content", messages=ASKED, n=3)
    assert [same(verdict, audit("turn")) for verdict in verdicts_in(whole.undertow)] == [True] * 3
    stream: Any = client.chat.completions.create(
        model="calm/tags",
        messages=ASKED,
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    *_, usage, last = stream
    assert usage.usage
    assert last.choices == []
    assert [one["choice"] for one in last.undertow["verdicts"]] == [0, 1]


def test_the_real_client_hears_of_a_break(start: Start, openai: Point) -> None:
    """The openai client raises its own error, after the verdict."""
    chunks: list[Any] = []
    stream: Any = openai(start()).chat.completions.create(
        model="calm/reasoning/disconnect",
        messages=ASKED,
        stream=True,
    )
    with pytest.raises(APIError, match="closed the connection"):
        for chunk in stream:
            chunks.append(chunk)
    assert chunks[-1].undertow["verdicts"][0]["assessed"] == "partial"


@pytest.mark.parametrize("policy", ["observe", "stop", "redact", "divert"])
@pytest.mark.parametrize("tale", ["calm", "turn"])
def test_responses_stream(start: Start, openai: Point, audit: Audit, policy: str, tale: str) -> None:
    """The real client accumulates a response; its last event holds the verdict and no flagged text."""
    stream: Any = openai(start(policy=policy)).responses.create(
        model=f"{tale}/text", input="How do I bake a zorp?", stream=True
    )
    events: list[Any] = list(stream)
    last = events[-1]
    assert last.type == (
        "response.incomplete" if (policy, tale) == ("stop", "turn") else "response.completed"
    )
    assert last.response.undertow["flagged"] == audit(tale).flagged
    if policy != "observe" and tale == "turn":
        assert not any("goes below" in event.model_dump_json() for event in events)


@pytest.mark.parametrize("tale", ["calm", "turn"])
def test_responses_whole(start: Start, openai: Point, audit: Audit, same: Same, tale: str) -> None:
    """A response that is not streamed carries its verdict."""
    response: Any = openai(start()).responses.create(model=f"{tale}/text", input=ASKED[0]["content"])
    assert same(verdicts_in(response.undertow)[0], audit(tale))
    assert response.output_text
