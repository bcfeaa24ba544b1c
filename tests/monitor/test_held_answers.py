"""Answers that a policy holds back: what goes on of their parts, and of what stands beside the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest

from undertow.monitor.policy import Policy
from undertow.monitor.wraps.answers import Answer, Asked
from undertow.monitor.wraps.chat import ChatAnswer
from undertow.monitor.wraps.messages import MessagesAnswer
from undertow.monitor.wraps.responses import ResponsesAnswer
from undertow.testing import scripted_monitor

Json: TypeAlias = dict[str, Any]

GOOD, BAD, REPLACED = "[neutral] One is fine. ", "[harm] Zorp the glims. ", "[redacted by undertow] "
TOLD: Json = {"logprobs": {"content": [{"token": "zorp", "logprob": -0.1}]}, "token_ids": [7, 8]}
"""What some servers say beside the text."""

holding = pytest.mark.parametrize("action", ["redact", "stop", "divert"])


def answer_under(action: Any, kind: type[Answer] = ChatAnswer) -> Answer:
    """Return what judges an answer under a policy."""
    return kind(Asked(scripted_monitor(), Policy(action=action, diversion="Sorry.")))


def streamed(answer: Answer, payloads: Sequence[Json]) -> str:
    """Return all that leaves of a stream, as JSON."""
    left = [out.payload for payload in payloads for out in answer.take(payload, answer.read(payload))]
    return json.dumps([*left, *(out.payload for out in answer.end())])


def text(said: str) -> Json:
    """Return a part of a content that is visible."""
    return {"type": "text", "text": said}


def thinking(said: str) -> Json:
    """Return a part of a content that is reasoning."""
    return {"type": "thinking", "thinking": [text(said)]}


@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("redact", [text(GOOD), thinking(GOOD + REPLACED), text(GOOD)]),
        ("stop", [text(GOOD), thinking(GOOD)]),
        ("divert", [text(GOOD), thinking(GOOD), text("Sorry.")]),
    ],
)
def test_parts_that_begin_with_a_text(action: str, left: Sequence[Json]) -> None:
    """A content of parts stays one, also where a visible part comes before the reasoning."""
    message = {"role": "assistant", "content": [text(GOOD), thinking(GOOD + BAD), text(GOOD)]}
    whole = {"id": "a", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    assert answer_under(action).whole(whole)["choices"][0]["message"]["content"] == left


@holding
def test_tokens_do_not_say_what_was_held_back(action: str) -> None:
    """A chunk without text may still tell the text by its tokens; so may the one that ends the answer."""
    deltas = [{"role": "assistant"}, {"content": GOOD}, {"content": ""}, {"content": BAD}, {"content": ""}]
    choices = [{"index": 0, "delta": delta, "finish_reason": None, **TOLD} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop", **TOLD})
    said = streamed(answer_under(action), [{"id": "a", "model": "m", "choices": [c]} for c in choices])
    assert "One is fine." in said
    assert "zorp" not in said
    assert "[7, 8]" not in said


@holding
def test_nor_in_a_whole_answer(action: str) -> None:
    """The same where the answer came whole and was changed."""
    message = {"role": "assistant", "content": GOOD + BAD}
    choice = {"index": 0, "message": message, "finish_reason": "stop", **TOLD}
    left = answer_under(action).whole({"id": "a", "model": "m", "choices": [choice]})["choices"][0]
    assert (left["logprobs"], left["token_ids"]) == (None, None)


@holding
def test_nor_where_a_text_is_repeated(action: str) -> None:
    """In the Responses API the events that end a part say its text again, and its tokens."""
    whole = GOOD + BAD
    at = {"output_index": 0, "item_id": "i", "content_index": 0}
    tokens = TOLD["logprobs"]["content"]
    part = {"type": "output_text", "text": whole, "annotations": [], "logprobs": tokens}
    events: list[Json] = [
        {"type": "response.output_text.delta", **at, "delta": whole, "logprobs": tokens},
        {"type": "response.output_text.done", **at, "text": whole, "logprobs": tokens},
        {"type": "response.content_part.done", **at, "part": part},
    ]
    said = streamed(answer_under(action, ResponsesAnswer), events)
    assert "One is fine." in said
    assert "zorp" not in said


def test_what_was_spent_is_told() -> None:
    """Counts that stand on each chunk leave with what leaves of it, and the last of them with the end."""
    chunks: list[Json] = [
        {"id": "a", "choices": [{"delta": {"content": said}}], "usage": {"total_tokens": number}}
        for number, said in enumerate((GOOD, GOOD, BAD, GOOD), 1)
    ]
    answer = answer_under("stop")
    left = [out.payload for chunk in chunks for out in answer.take(chunk, answer.read(chunk))]
    assert [chunk["usage"]["total_tokens"] for chunk in left] == [2, 3, 4]
    (last,) = answer.end()
    assert last.payload["choices"][0]["finish_reason"] == "content_filter"
    assert last.payload["usage"]["total_tokens"] == 4


def test_a_text_completion_that_reasons() -> None:
    """Reasoning beside the text of a choice is held back as such, and what leaves has the same form."""
    texts: list[Json] = [
        {"text": None, "reasoning_content": GOOD},
        {"text": "", "reasoning_content": BAD},
        {"text": GOOD},
    ]
    left = json.loads(streamed(answer_under("redact"), [{"choices": [{"index": 0, **t}]} for t in texts]))
    choices = [chunk["choices"][0] for chunk in left]
    assert (
        "".join(choice.get("reasoning_content", "") for choice in choices).strip()
        == (GOOD + REPLACED).strip()
    )
    assert "".join(choice["text"] for choice in choices).strip() == GOOD.strip()
    assert not any("delta" in choice for choice in choices)


@holding
def test_thoughts_of_gemini(action: str) -> None:
    """Parts that are marked as thoughts are reasoning, and a summary; the mark stays on what leaves."""
    content: list[Json] = [{**text(GOOD + BAD), "thought": True}, text(GOOD)]
    whole: Json = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    answer = answer_under(action)
    parts = answer.whole(whole)["choices"][0]["message"]["content"]
    assert parts[0] == {**text(GOOD + (REPLACED if action == "redact" else "")), "thought": True}
    assert not any(part.get("thought") for part in parts[1:])
    verdict = answer.verdicts[0]
    assert [step.channel for step in verdict.steps[:2]] == ["reasoning", "reasoning"]
    assert verdict.not_assessed
    assert verdict.not_assessed.reason == "summary_only"


def test_an_answer_ends_once() -> None:
    """Text that comes after its choice was called ended, and is flagged, gives no second end."""
    said = [({"content": GOOD}, None), ({}, "stop"), ({"content": BAD}, None)]
    chunks = [{"id": "a", "choices": [{"index": 0, "delta": d, "finish_reason": end}]} for d, end in said]
    left = json.loads(streamed(answer_under("stop"), chunks))
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in left]
    assert [reason for reason in reasons if reason] == ["content_filter"]


def choice(index: int, finish_reason: str | None, **said: Any) -> Json:
    """Return a choice of a chunk."""
    return {"index": index, "delta": said, "finish_reason": finish_reason}


@pytest.mark.parametrize("action", ["observe", "redact"])
def test_a_choice_without_text_has_a_verdict(action: Any) -> None:
    """It says that nothing was judged, streamed or not."""
    messages = [{"index": i, "message": {"content": said}} for i, said in enumerate((GOOD, ""))]
    answer = answer_under(action)
    answer.whole({"choices": [{**message, "finish_reason": "stop"} for message in messages]})
    assert {i: verdict.assessed for i, verdict in answer.verdicts.items()} == {0: "partial", 1: "none"}
    answer = answer_under(action)
    streamed(answer, [{"choices": [choice(0, "stop", content=GOOD)]}, {"choices": [choice(1, "stop")]}])
    assert {i: verdict.assessed for i, verdict in answer.verdicts.items()} == {0: "partial", 1: "none"}


def test_a_chunk_that_ends_two_choices() -> None:
    """It has the verdict that matters most."""
    answer = answer_under("observe")
    payload = {"choices": [choice(0, "stop", content=GOOD), choice(1, "stop", content=BAD)]}
    assert answer.take(payload, answer.read(payload)) == []
    (out,) = answer.end()
    assert out.verdict == answer.verdicts[1]
    assert answer.verdicts[1].flagged


def test_a_refusal_after_a_content() -> None:
    """It is a text of its own in a stream too: its steps are where an audit has them."""
    said = {"content": GOOD, "refusal": BAD}
    whole, stream = answer_under("observe"), answer_under("observe")
    whole.whole({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})
    streamed(stream, [{"choices": [choice(0, None, **{name: text})]} for name, text in said.items()])
    assert stream.verdicts[0].steps == whole.verdicts[0].steps
    assert len(whole.verdicts[0].steps) == 2


def block(kind: str, index: int, **more: Any) -> Json:
    """Return an event about a block of a message."""
    return {"type": f"content_block_{kind}", "index": index, **more}


def text_delta(index: int, said: str) -> Json:
    """Return a text of a block."""
    return block("delta", index, delta={"type": "text_delta", "text": said})


CITED: Json = block("delta", 0, delta={"type": "citations_delta", "citation": {"cited_text": "One."}})
END: list[Json] = [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"}]


@pytest.mark.parametrize(
    "between", [CITED, text_delta(0, ""), {"type": "ping"}], ids=["cited", "empty", "ping"]
)
@holding
def test_a_text_goes_on_after_what_is_no_text(action: str, between: Json) -> None:
    """No part of a step leaves before the step is over, in Anthropic's API."""
    begun = block("start", 0, content_block={"type": "text", "text": ""})
    said = [text_delta(0, f"{GOOD}[har"), between, text_delta(0, BAD.removeprefix("[har"))]
    left = streamed(answer_under(action, MessagesAnswer), [begun, *said, block("stop", 0), *END])
    assert GOOD.strip() in left
    assert "[har" not in left


TOKENS: Json = {"logprobs": [{"token": "zorp", "logprob": -0.1}]}


@pytest.mark.parametrize("between", ["output_text.delta", "output_text.annotation.added"])
@holding
def test_nor_in_the_responses_api(action: str, between: str) -> None:
    """An annotation or an empty delta ends no step."""
    at: Json = {"output_index": 0, "content_index": 0, "item_id": "m"}
    delta: Json = {"type": "response.output_text.delta", **at}
    said = [{**delta, "delta": f"{GOOD}[har"}, {**at, "type": f"response.{between}", "delta": "", **TOKENS}]
    said.append({**delta, "delta": BAD.removeprefix("[har")})
    done = {"type": "response.completed", "response": {"object": "response", "status": "completed"}}
    left = streamed(answer_under(action, ResponsesAnswer), [*said, done])
    assert GOOD.strip() in left
    assert "[har" not in left
    assert "zorp" not in left


def test_what_is_left_after_a_block_has_a_block_of_its_own() -> None:
    """A tag at the end of a block might go on; what leaves of it at the end stands in no closed block."""
    begun = block("start", 0, content_block={"type": "text", "text": ""})
    said = text_delta(0, f"<think>{BAD}</think>")
    events = [begun, said, block("stop", 0), *END]
    answer = answer_under("redact", MessagesAnswer)
    left = [out.payload for event in events for out in answer.take(event, answer.read(event))]
    left += [out.payload for out in answer.end()]
    open_block = None
    for event in left:
        if event["type"] == "content_block_start":
            open_block = event["index"]
        elif event["type"].startswith("content_block"):
            assert event["index"] == open_block
            open_block = None if event["type"] == "content_block_stop" else open_block
    assert "</think>" in json.dumps(left)
