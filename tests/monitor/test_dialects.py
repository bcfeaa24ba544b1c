"""What the readers of the APIs' dialects find in chunks, events and whole answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from undertow.monitor.trace import Trace
from undertow.monitor.wraps.dialects import ChatReader, ResponsesReader, Text, prompt_of

SAME = "I look."


def chunk(**delta: Any) -> dict[str, Any]:
    """Return a chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": delta}]}


def whole(**message: Any) -> dict[str, Any]:
    """Return a whole chat completion."""
    return {"model": "deepseek-r1", "choices": [{"index": 0, "message": message}]}


def found(texts: list[Text]) -> list[tuple[str | None, str, str]]:
    """Return what matters of the texts."""
    return [(text.channel, text.text, text.field) for text in texts]


CHAT = {
    "both in one chunk": (
        chunk(content="So.", reasoning_content="Hm."),
        [("reasoning", "Hm.", "reasoning_content"), ("answer", "So.", "content")],
    ),
    "the same reasoning twice": (
        chunk(reasoning=SAME, reasoning_details=[{"type": "reasoning.text", "text": SAME}]),
        [("reasoning", SAME, "reasoning")],
    ),
    "different reasoning twice": (
        chunk(reasoning="One.", reasoning_content="Two."),
        [("reasoning", "Two.", "reasoning_content"), ("reasoning", "One.", "reasoning")],
    ),
    "details alone": (
        chunk(
            reasoning_details=[
                {"type": "reasoning.text", "text": "a"},
                {"type": "reasoning.text", "text": "b"},
            ]
        ),
        [("reasoning", "ab", "reasoning_details:reasoning.text")],
    ),
    "thinking blocks": (
        chunk(thinking_blocks=[{"type": "thinking", "thinking": "Hm.", "signature": "x"}]),
        [("reasoning", "Hm.", "thinking_blocks:thinking")],
    ),
    "content in parts": (
        chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"text": "So."}]),
        [("reasoning", "Hm.", "content:thinking"), ("answer", "So.", "content")],
    ),
    "content in parts of text": (
        chunk(content=[{"type": "reasoning", "reasoning": "Hm."}]),
        [("reasoning", "Hm.", "content:reasoning")],
    ),
    "a stream that may hold tags": (chunk(content="<thi"), [(None, "<thi", "content")]),
    "a whole text with tags": (
        whole(content="<think>Hm.</think>So."),
        [(None, "<think>Hm.</think>So.", "content")],
    ),
    "a whole text without": (whole(content="So."), [("answer", "So.", "content")]),
    "a refusal": (whole(refusal="No."), [("answer", "No.", "refusal")]),
    "a text completion": ({"choices": [{"index": 0, "text": "So."}]}, [(None, "So.", "text")]),
    "nothing": (chunk(role="assistant", content=None, tool_calls=[{"index": 0}]), []),
    "no choices": ({"choices": [], "usage": {}}, []),
    "not even that": ({"error": {"message": "no"}}, []),
}


@pytest.mark.parametrize(("payload", "expected"), CHAT.values(), ids=CHAT)
def test_chat(payload: dict[str, Any], expected: list[tuple[str | None, str, str]]) -> None:
    """Each field that holds a text is found once, with its channel and its name."""
    assert found(ChatReader().texts(payload)) == expected


def test_objects_are_read_like_json() -> None:
    """What a library made of a chunk says the same."""
    delta = SimpleNamespace(content="So.", reasoning="Hm.")
    made = SimpleNamespace(choices=[SimpleNamespace(index=0, delta=delta)])
    assert found(ChatReader().texts(made)) == found(ChatReader().texts(chunk(content="So.", reasoning="Hm.")))


CAVEATS = {
    "encrypted": (chunk(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]), "encrypted"),
    "summary": (chunk(reasoning_details=[{"type": "reasoning.summary", "summary": "s"}]), "summary_only"),
    "redacted": (chunk(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}]), "encrypted"),
    "wrong type": (chunk(reasoning_content=7), "wrong_types"),
    "none": (chunk(reasoning_content="Hm.", content=""), None),
}


@pytest.mark.parametrize(("payload", "reason"), CAVEATS.values(), ids=CAVEATS)
def test_caveats(payload: dict[str, Any], reason: str | None) -> None:
    """What the provider kept back is said, and so is a field that could not be read."""
    reader = ChatReader()
    reader.texts(payload)
    caveat = reader.caveat(Trace())
    assert (None if caveat is None else caveat.reason) == reason


def test_the_field_is_recorded() -> None:
    """A reader knows which fields held the reasoning of each choice."""
    reader = ChatReader()
    reader.texts(chunk(reasoning="a", content="b"))
    assert (reader.fields(0), reader.fields(1)) == (("reasoning",), ())


def delta(kind: str, text: str, **at: Any) -> dict[str, Any]:
    """Return an event of the Responses API."""
    return {"type": f"response.{kind}.delta", "output_index": 0, "content_index": 0, "delta": text, **at}


def test_what_is_repeated_is_read_once() -> None:
    """The events that end a part are read only where it had no deltas."""
    reader = ResponsesReader()
    item = {"type": "message", "content": [{"type": "output_text", "text": "So."}]}
    events = [
        delta("output_text", "So."),
        {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "So."},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": "Late."},
        {"type": "response.completed", "response": {"output": [item, {"type": "reasoning", "summary": []}]}},
    ]
    assert [text.text for event in events for text in reader.texts(event)] == ["So.", "Late."]


@pytest.mark.parametrize("end", ["done", "item", "completed"])
@pytest.mark.parametrize(
    ("repeated", "read", "reason"),
    [
        ("So. More.", ["So.", " More."], None),  # what the deltas left out is judged
        ("Other.", ["So."], "wrong_types"),  # what contradicts them never looks judged
        (" So. ", ["So."], None),
        ("", ["So."], None),
    ],
    ids=["longer", "other", "padded", "empty"],
)
def test_a_repeated_text_that_differs(end: str, repeated: str, read: list[str], reason: str | None) -> None:
    """A text that only a closing event holds is not passed over."""
    reader = ResponsesReader()
    item = {"type": "message", "content": [{"type": "output_text", "text": repeated}]}
    endings: dict[str, dict[str, Any]] = {
        "done": {
            "type": "response.output_text.done",
            "output_index": 0,
            "content_index": 0,
            "text": repeated,
        },
        "item": {"type": "response.output_item.done", "output_index": 0, "item": item},
        "completed": {"type": "response.completed", "response": {"output": [item]}},
    }
    events = [delta("output_text", "So."), endings[end]]
    assert [text.text for event in events for text in reader.texts(event)] == read
    caveat = reader.caveat(Trace())
    assert (None if caveat is None else caveat.reason) == reason


def test_a_summary_beside_the_reasoning_is_no_caveat() -> None:
    """Only a summary without the reasoning itself keeps a response from being judged in full."""
    reader = ResponsesReader()
    reader.texts(delta("reasoning_summary_text", "Short.", summary_index=0))
    assert reader.caveat(Trace())
    reader.texts(delta("reasoning_text", "Long."))
    assert reader.caveat(Trace()) is None


PROMPTS = {
    "last user turn": (
        {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        "b",
    ),
    "parts": (
        {"messages": [{"role": "user", "content": [{"text": "a"}, {"image": 1}, {"text": "b"}]}]},
        "a\n\nb",
    ),
    "input": ({"input": "a"}, "a"),
    "raw": ({"prompt": "a"}, "a"),
    "none": ({"messages": [{"role": "system", "content": "a"}]}, ""),
    "empty": ({}, ""),
    "no content": ({"messages": [{"role": "user"}]}, ""),
}


@pytest.mark.parametrize(("asked", "prompt"), PROMPTS.values(), ids=PROMPTS)
def test_prompts(asked: dict[str, Any], prompt: str) -> None:
    """The request is the last user turn, or the raw prompt."""
    assert prompt_of(asked) == prompt
