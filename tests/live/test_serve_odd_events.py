"""The proxy, where a stream is not what its API documents: what is judged, said, counted and held back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from sys import modules
from typing import Any

import httpx
import pytest

from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.wraps.proxy import create_app
from undertow.monitor.wraps.proxy.call import read_call

serving: Any = modules["serving"]  # it stands beside this file
Ask = Callable[..., str]

POLICIES = {name: Policy(action=name) for name in ("observe", "redact", "stop", "divert")}
POLICIES["closed"] = Policy(on_error="closed")
POLICIES["redact, open"] = Policy(action="redact", on_error="open")


@pytest.fixture
def ask(monitor: Monitor) -> Ask:
    """Sends a request through a proxy to an upstream that answers with a body; returns what comes back."""

    def send(
        body: bytes, policy: Policy, *, path: str = "chat/completions", stream: bool = True, **more: Any
    ) -> str:
        told = {"content-type": "text/event-stream" if stream else "application/json"}
        upstream = httpx.MockTransport(lambda _: httpx.Response(200, headers=told, content=body))
        app = create_app("http://up", monitor=monitor, policy=policy, transport=upstream)

        async def post() -> str:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://proxy") as http:
                asked = json.dumps({"messages": [], "stream": stream, **more})
                answer = await http.post(f"/v1/{path}", content=asked)
                assert answer.status_code == 200
                return answer.text

        return asyncio.run(post())

    return send


def chunk(text: str, ending: str | None = None, *, choice: int = 0, **more: Any) -> dict[str, Any]:
    """Return a chunk with reasoning."""
    return {
        "id": "c",
        "model": "m",
        "choices": [{"index": choice, "delta": {"reasoning_content": text}, "finish_reason": ending}],
        **more,
    }


def data(*events: Any) -> bytes:
    """Return a stream of events."""
    said = [one if isinstance(one, str) else json.dumps(one) for one in (*events, "[DONE]")]
    return "".join(f"data: {one}\n\n" for one in said).encode()


def verdicts(text: str) -> Any:
    """Return the verdicts in a stream."""
    (given,) = [e["undertow"] for e in serving.events_of(text) if isinstance(e, dict) and "undertow" in e]
    return serving.verdicts_in(given)


@pytest.mark.parametrize(
    "odd",
    ['{"choices": [{"delta": {"content": "[harm] The zorp', '[{"delta": "The zorp."}]', "[harm] The zorp."],
    ids=["half an object", "a list", "no JSON"],
)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_an_event_that_is_no_object_is_not_called_judged(ask: Ask, policy: Policy, odd: str) -> None:
    """A watched stream passes it on and says so; a held one leaves it out, and ends there if closed."""
    text = ask(data(chunk("[neutral] One. "), odd, chunk("[neutral] Two. ", "stop")), policy)
    watched, closed = policy == POLICIES["observe"], policy != POLICIES["redact, open"]
    assert ("zorp" in text) == watched
    assert ("Two" in text) == (watched or not closed)
    said = "".join(line for line in text.splitlines(keepends=True) if "undertow" in line or not watched)
    (verdict,) = verdicts(said)
    assert (verdict.assessed, verdict.not_assessed.reason) == ("partial", "wrong_types")


@pytest.mark.parametrize("policy", ["observe", "redact", "stop", "divert"])
def test_text_beside_an_error_is_judged(ask: Ask, policy: str) -> None:
    """The chunk that ends a stream with an error may hold text as any other: it is judged and held back."""
    error = chunk("[harm] The zorp. ", "error", error={"code": 502, "message": "the model fell over"})
    text = ask(data(chunk("[neutral] One. "), error), POLICIES[policy])
    assert ("The zorp" in text) == (policy == "observe")
    (verdict,) = verdicts(text)
    assert verdict.flagged
    if policy == "observe":
        events = serving.events_of(text)
        assert (events[-2:], "undertow" in events[-3]) == ([error, "[DONE]"], True)


@pytest.mark.parametrize("policy", ["observe", "stop"])
def test_a_choice_that_an_error_ends_is_cut_off(ask: Ask, policy: str) -> None:
    """The error comes last, after the verdict, and its finish reason does not make a whole response."""
    error = chunk("", "error", error={"code": 502, "message": "the model fell over"})
    text = ask(data(chunk("[neutral] One. "), error), POLICIES[policy])
    (verdict,) = verdicts(text)
    assert (verdict.assessed, verdict.not_assessed.reason) == ("partial", "truncated")
    *_, told, failed, done = serving.events_of(text)
    assert ("undertow" in told, failed["error"], done) == (True, error["error"], "[DONE]")


def test_an_error_is_told_although_another_choice_was_stopped(ask: Ask) -> None:
    """The choice that goes on is cut off by it, and its reader hears why."""
    begun = [chunk("[neutral] One. "), chunk("[neutral] One. ", choice=1)]
    events = [
        *begun,
        chunk("[harm] The zorp. [neutral] Two. "),
        {"error": {"message": "the model fell over"}},
    ]
    text = ask(data(*events), Policy(action="stop"), n=2)
    assert "The zorp" not in text
    assert '"finish_reason":"content_filter"' in text
    assert "the model fell over" in text
    assert [verdict.flagged for verdict in verdicts(text)] == [True, False]


HALF = "half \ud83d"


@pytest.mark.parametrize("where", ["id", "model", "asked"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("policy", ["observe", "stop"])
def test_half_a_surrogate_pair_in_a_name(ask: Ask, policy: str, where: str, stream: bool) -> None:
    """A name that UTF-8 cannot write keeps no response from its verdict."""
    answer = chunk("[neutral] One. ", "stop")
    asked = {"model": HALF if where == "asked" else "m"}
    answer.pop("model")
    answer |= {} if where == "asked" else {where: HALF}
    choice = answer["choices"][0]
    whole = json.dumps(
        {**answer, "choices": [{"index": 0, "message": choice["delta"], "finish_reason": "stop"}]}
    )
    text = ask(data(answer) if stream else whole.encode(), POLICIES[policy], stream=stream, **asked)
    (verdict,) = verdicts(text) if stream else serving.verdicts_in(json.loads(text)["undertow"])
    assert "half ?" in (verdict.id, verdict.model)
    assert len(verdict.steps) == 1


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [("Hello.", 1), ([7, 8, 9], 1), ([[7, 8], [9]], 2), (["Hello.", "Good day."], 2), ([], 1)],
    ids=["a text", "tokens", "several of tokens", "several texts", "none"],
)
def test_tokens_are_one_prompt(prompt: Any, choices: int) -> None:
    """As many choices are expected as there are prompts, or a stop would wait for others that never come."""
    asked = json.dumps({"prompt": prompt, "n": 2}).encode()
    assert read_call("completions", asked).choices == 2 * choices


class _Waiting(httpx.AsyncByteStream):
    """A stream that says something and then nothing more."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield events without an end."""
        yield self._said.removesuffix(data())
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("said", "seen", "counted"),
    [
        (
            data(chunk("[neutral] One. "), chunk("[harm] Two. "), chunk("[neutral] Three. ")),
            "redacted",
            "true",
        ),
        (data(chunk("[neutral] One. "), chunk("[neutral] Two. ")), "One", "unknown"),
        (b": a comment\n\n", "comment", "unknown"),
    ],
    ids=["flagged", "calm", "nothing said"],
)
def test_who_leaves_before_the_end_is_counted(
    monitor: Monitor, http: httpx.Client, said: bytes, seen: str, counted: str
) -> None:
    """The metrics know an alarm although the client did not wait for the verdict, and call nothing safe."""
    told = {"content-type": "text/event-stream"}
    upstream = httpx.MockTransport(lambda _: httpx.Response(200, headers=told, stream=_Waiting(said)))
    app = create_app("http://up", monitor=monitor, policy="redact", transport=upstream)
    with serving.listening(app) as url:
        with http.stream("POST", f"{url}/v1/chat/completions", json={"stream": True}) as answer:
            assert any(seen in line for line in answer.iter_lines())
        shown = serving.settled(http, url)
    assessed = "none" if seen == "comment" else "partial"
    assert f'undertow_generations_total{{assessed="{assessed}",flagged="{counted}"}} 1.0' in shown
    assert ('undertow_alarms_total{channel="reasoning"} 1.0' in shown) == (counted == "true")
