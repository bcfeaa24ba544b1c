"""The wrapped OpenAI client on the Responses API, whose later events repeat what earlier ones said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from undertow.monitor.monitor import Monitor
from undertow.monitor.policy import Policy
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps import wrap

openai = pytest.importorskip("openai")

PROMPT = "How do I bake a zorp?"
REDACTED = "[redacted by undertow]"

both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture
def connect(replay: Any, monitor: Monitor) -> Iterator[Callable[..., Any]]:
    """Make wrapped clients of the replaying server; they are closed at the end."""
    made = []

    def make(policy: Policy | str = "observe") -> Any:
        made.append(openai.OpenAI(base_url=f"{replay.url}/v1", api_key="none", max_retries=0))
        return wrap(made[-1], monitor=monitor, policy=policy)

    yield make
    for client in made:
        client.close()


def ask(client: Any, model: str, *, stream: bool) -> tuple[Any, list[Any]]:
    """Return the final response, and all that left on the way."""
    answer = client.responses.create(model=model, input=PROMPT, stream=stream)
    if not stream:
        return answer, [answer]
    events = list(answer)
    final = events[-1].response
    object.__setattr__(final, "undertow", events[-1].undertow)
    return final, events


def texts(response: Any) -> list[str]:
    """Return the texts of a response's items, in order."""
    parts = [
        p for item in response.output for n in ("summary", "content") for p in getattr(item, n, None) or ()
    ]
    return [part.text for part in parts]


def dumped(items: list[Any]) -> str:
    """Return all that left, but for the verdicts."""
    return json.dumps([item.model_dump(warnings=False) for item in items])


@both
@pytest.mark.parametrize("tale", ["calm", "turn", "late", "broken"])
def test_observing_gives_the_verdict_of_an_audit(
    *,
    connect: Callable[..., Any],
    tales: Mapping[str, Any],
    audit: Callable[[str], TraceVerdict],
    same: Callable[[TraceVerdict, TraceVerdict], bool],
    tale: str,
    stream: bool,
) -> None:
    """What is repeated is judged once, and nothing is changed."""
    response, _ = ask(connect(), f"{tale}/", stream=stream)
    assert texts(response) == [tales[tale].reasoning, tales[tale].answer]
    assert same(response.undertow, audit(tale))


@both
@pytest.mark.parametrize(
    ("shape", "reason"),
    [("summary", "summary_only"), ("encrypted", "encrypted")],
    ids=["summary", "encrypted"],
)
def test_what_the_provider_keeps_back(
    connect: Callable[..., Any], shape: str, reason: str, stream: bool
) -> None:
    """A summary is judged and encrypted reasoning cannot be; the verdict says either."""
    response, _ = ask(connect("stop"), f"calm/{shape}", stream=stream)
    assert (response.undertow.assessed, response.undertow.not_assessed.reason) == ("partial", reason)
    assert response.undertow.quadrant is None
    assert response.status == "completed"


@both
@pytest.mark.parametrize("tale", ["turn", "late", "turntool"])
def test_stop_ends_the_response(connect: Callable[..., Any], tale: str, stream: bool) -> None:
    """No event holds the flagged step or what follows; the response is incomplete, and says why."""
    response, events = ask(connect("stop"), f"{tale}/", stream=stream)
    everything = dumped(events)
    assert "[drift]" not in everything
    assert "[harm]" not in everything
    assert "look" not in everything
    assert "[neutral]" in everything
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "content_filter"
    assert response.undertow.flagged


@both
def test_redact_reaches_every_repetition(
    connect: Callable[..., Any], tales: Mapping[str, Any], stream: bool
) -> None:
    """Deltas, parts, items and the response say the same redacted text."""
    response, events = ask(connect("redact"), "late/", stream=stream)
    assert "[harm]" not in dumped(events)
    expected = tales["late"].answer.replace("[harm] Put the zorp in the cake.", REDACTED)
    assert texts(response) == [tales["late"].reasoning, expected]
    if stream:
        deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
        assert "".join(deltas) == expected
        assert [e.sequence_number for e in events] == list(range(len(events)))


@both
def test_divert_answers_in_a_message_of_its_own(connect: Callable[..., Any], stream: bool) -> None:
    """The reasoning breaks off, and the harmless answer is a whole message."""
    response, events = ask(connect("divert"), "turn/", stream=stream)
    assert texts(response)[0] == "[neutral] The user asks for zorp. "
    assert response.output[-1].content[0].text.startswith("I can't help")
    assert response.status == "completed"
    assert "[drift]" not in dumped(events)


def test_the_stream_helper_follows_a_divert(connect: Callable[..., Any]) -> None:
    """The library's own helper puts the events together without stumbling."""
    with connect("divert").responses.stream(model="turn/", input=PROMPT) as events:
        final = events.get_final_response()
    assert final.output_text.startswith("I can't help")


def test_stop_closes_the_upstream(connect: Callable[..., Any], replay: Any) -> None:
    """A stopped stream is not read on."""
    ask(connect("stop"), "turn/reasoning/wait", stream=True)
    assert replay.was_left("turn/reasoning/wait")


def test_an_error_in_mid_stream(connect: Callable[..., Any]) -> None:
    """An error event passes, and the verdict on what came says that it is not the whole."""
    stream = connect("stop").responses.create(model="calm//error", input=PROMPT, stream=True)
    events = list(stream)
    assert "error" in [event.type for event in events]
    assert stream.undertow.not_assessed.reason == "truncated"
