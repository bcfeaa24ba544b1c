"""Conversations become one trace for each turn of the assistant."""

from __future__ import annotations

from typing import Any

import pytest

from undertow.monitor.audit.readers import READERS, Reader
from undertow.monitor.audit.readers.contract import WrongType
from undertow.monitor.trace import Origin, Trace, Unreadable

AT = Origin(path="runs/t.jsonl", format="openai-chat", row=3)
CHAT, SHAREGPT = (next(r for r in READERS if r.name == name) for name in ("openai-chat", "sharegpt"))
USER = {"role": "user", "content": "P"}


def records(*messages: object, **row: object) -> list[Trace | Unreadable]:
    """Read a row with these messages."""
    return list(CHAT.read({"messages": list(messages), **row}, AT))


def said(**message: Any) -> Trace:
    """Read what an assistant said in one turn."""
    (record,) = records(USER, {"role": "assistant", **message})
    assert isinstance(record, Trace)
    return record


def thinking(text: str, **more: object) -> dict[str, object]:
    """Make a block of reasoning as Anthropic's API gives it."""
    return {"type": "thinking", "thinking": text, **more}


@pytest.mark.parametrize(
    ("message", "source"),
    [
        ({"reasoning_content": "R", "content": "A"}, "reasoning_content"),
        ({"reasoning": "R", "content": "A"}, "reasoning"),
        ({"thinking": "R", "content": "A"}, "thinking"),
        ({"content": "<think>R</think>A"}, "tags:think"),
        ({"reasoning_content": "R", "reasoning": "R", "content": "<think>R</think>A"}, "reasoning_content"),
        ({"reasoning_content": None, "reasoning": "R", "content": "A"}, "reasoning"),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "R"}], "content": "A"},
         "reasoning_details:reasoning.text"),
        ({"thinking_blocks": [thinking("R", signature="s")], "content": "A"}, "thinking_blocks:thinking"),
        ({"content": [thinking("R"), {"type": "text", "text": "A"}]}, "content:thinking"),
        ({"content": [{"type": "reasoning", "text": "R"}, {"type": "output_text", "text": "A"}]},
         "content:reasoning"),
        ({"content": [{"type": "reasoning", "reasoning": "R"}, "A"]}, "content:reasoning"),
        ({"content": [{"type": "reasoning", "content": "R"}, "A"]}, "content:reasoning"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "R"}]}, "A"]},
         "content:thinking"),
        ({"content": [{"type": "reasoning_content", "reasoning_content": {"text": "R"}}, "A"]},
         "content:reasoning_content"),
        ({"content": [{"type": "text", "text": "<think>R</think>A"}]}, "tags:think"),
        ({"reasoning": "R", "content": None, "refusal": "A"}, "reasoning"),
        ({"reasoning": "R", "content": [{"type": "refusal", "refusal": "A"}]}, "reasoning"),
        ({"reasoning": "R", "content": [{"type": "image_url"}, {"type": "new", "text": "A"}]}, "reasoning"),
    ],
    ids=[
        "reasoning_content", "reasoning", "thinking", "tags", "three times the same", "first is null",
        "reasoning_details", "thinking_blocks", "thinking block", "reasoning part, text",
        "reasoning part, reasoning", "reasoning part, content", "Mistral's", "Bedrock's", "tags in a part",
        "refusal", "refusal part", "unknown parts",
    ],
)  # fmt: skip
def test_reasoning_is_found_wherever_it_is_saved(message: dict[str, Any], source: str) -> None:
    """Each way of saving the reasoning gives the same trace, which says what held it."""
    found = said(**message)
    assert (found.prompt, found.reasoning, found.answer) == ("P", "R", "A")
    assert found.reasoning_from == source
    assert found.caveat is None


def test_what_differs_is_kept_in_order() -> None:
    """Fields come in their order of precedence, then the parts of the content, then the tags."""
    found = said(reasoning="2", reasoning_content="1", content=[thinking("3"), "<think>4</think>A"])
    assert found.reasoning == "1\n\n2\n\n3\n\n4"
    assert found.reasoning_from == "reasoning_content+reasoning+content:thinking+tags:think"
    assert found.answer == "A"


def test_any_number_of_parts() -> None:
    """A message in thousands of parts is one trace, with one source."""
    found = said(content=[part for i in range(5_000) for part in (thinking(f"R{i}"), f"A{i}")])
    assert (found.reasoning or "").split("\n\n") == [f"R{i}" for i in range(5_000)]
    assert (found.answer or "").split("\n\n") == [f"A{i}" for i in range(5_000)]
    assert found.reasoning_from == "content:thinking"


@pytest.mark.parametrize(
    ("message", "reason", "reasoning"),
    [
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "S"}]}, "summary_only", "S"),
        ({"reasoning": "S", "reasoning_details": [{"type": "reasoning.summary", "summary": "S"}]},
         "summary_only", "S"),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}, "encrypted", None),
        ({"reasoning": "R", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
         "encrypted", "R"),
        ({"content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "A"}]},
         "encrypted", None),
        ({"content": [{"type": "reasoning", "reasoning": "x", "summary": "S", "redacted": True}]},
         "summary_only", "S"),
        ({"content": [{"type": "reasoning", "reasoning": "x", "redacted": True}]}, "encrypted", None),
        ({"content": [thinking("", signature="x")]}, "encrypted", None),
        ({"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "S"}]}]},
         "summary_only", "S"),
        ({"content": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}, "encrypted", None),
        ({"content": [{"type": "reasoning_content", "reasoning_content": {"redacted_content": "x"}}]},
         "encrypted", None),
    ],
    ids=[
        "summary", "summary twice", "encrypted", "text and encrypted", "redacted block",
        "redacted with summary", "redacted", "left out", "item summed up", "item encrypted", "Bedrock's",
    ],
)  # fmt: skip
def test_reasoning_that_cannot_be_read_in_full(
    message: dict[str, Any], reason: str, reasoning: str | None
) -> None:
    """A summary or an encrypted part is a caveat, so that the trace is never taken for judged in full."""
    found = said(**message)
    assert found.caveat is not None
    assert found.caveat.reason == reason
    assert found.reasoning == reasoning


def test_turns() -> None:
    """Each assistant turn is a trace with the user turn before it; system and tool turns are not prompts."""
    first, second, third = records(
        {"role": "system", "content": "be good"},
        {"role": "user", "content": "P1"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}], "reasoning": "R1"},
        {"role": "tool", "content": "result"},
        {"role": "assistant", "content": "A2"},
        {"role": "user", "content": [{"type": "text", "text": "P2"}, {"type": "image_url", "image_url": {}}]},
        {"role": "Assistant", "content": "<think>R3</think>A3", "model": "other"},
        id="c",
        model="m",
        topic="t",
    )
    assert [t.id for t in (first, second, third)] == ["c#0", "c#1", "c#2"]
    assert [t.origin.turn for t in (first, second, third)] == [0, 1, 2]
    assert isinstance(first, Trace) and isinstance(second, Trace) and isinstance(third, Trace)
    assert [(t.prompt, t.reasoning, t.answer) for t in (first, second, third)] == [
        ("P1", "R1", None),
        ("P1", None, "A2"),
        ("P2", "R3", "A3"),
    ]
    assert [t.model for t in (first, second, third)] == ["m", "m", "other"]
    assert third.metadata == {"topic": "t"}


def test_one_turn_has_the_id_of_its_row() -> None:
    """Only where there are several turns does the id say which."""
    (record,) = records(USER, {"role": "assistant", "content": "A"})
    assert (record.id, record.origin.turn) == ("t:3", 0)


def test_sharegpt() -> None:
    """`conversations` of `from` and `value` give the same traces."""
    row = {
        "id": "s",
        "conversations": [
            {"from": "system", "value": "be good"},
            {"from": "human", "value": "P"},
            {"from": "gpt", "value": "<think>R</think>A"},
        ],
    }
    (record,) = SHAREGPT.read(row, AT)
    assert isinstance(record, Trace)
    assert (record.id, record.prompt, record.reasoning, record.answer) == ("s", "P", "R", "A")


@pytest.mark.parametrize("messages", [[], [USER], [{"role": "system", "content": "x"}]])
def test_no_assistant_turn(messages: list[object]) -> None:
    """A conversation in which no assistant speaks is a record that says so."""
    (record,) = records(*messages)
    assert isinstance(record, Unreadable)
    assert record.problem.reason == "no_assistant_turn"


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        (7, "messages[1] holds a number; expected an object"),
        ({"content": "x"}, "messages[1].role holds null; expected text"),
        ({"role": 7}, "messages[1].role holds a number; expected text"),
        ({"role": "assistant", "content": {"text": "secret"}},
         "messages[1].content holds an object; expected text"),
        ({"role": "assistant", "content": [7]}, "messages[1].content[0] holds a number; expected an object"),
        ({"role": "assistant", "content": [{"type": "text", "text": ["secret"]}]},
         "messages[1].content[0].text holds a list; expected text"),
        ({"role": "assistant", "reasoning": {"secret": "x"}},
         "messages[1].reasoning holds an object; expected text"),
        ({"role": "assistant", "reasoning_details": "secret"},
         "messages[1].reasoning_details holds text; expected a list"),
    ],
    ids=["no object", "no role", "role", "content", "part", "text of a part", "reasoning", "details"],
)  # fmt: skip
def test_a_broken_message_spoils_no_other(bad: object, detail: str) -> None:
    """A message of the wrong types is a record that names the field and never its text."""
    broken, good = records(USER, bad, {"role": "assistant", "content": "A"})
    assert isinstance(broken, Unreadable)
    assert (broken.problem.reason, broken.problem.detail) == ("wrong_types", detail)
    assert isinstance(good, Trace)
    assert (good.prompt, good.answer) == ("P", "A")


def test_a_broken_request_spoils_its_answer_only() -> None:
    """An answer to a request that is no text cannot be judged as an answer to nothing."""
    broken, good = records(
        {"role": "user", "content": 7},
        {"role": "assistant", "content": "A"},
        USER,
        {"role": "assistant", "content": "B"},
    )
    assert isinstance(broken, Unreadable)
    assert broken.problem.detail == "messages[0].content holds a number; expected text"
    assert isinstance(good, Trace)


@pytest.mark.parametrize("reader", [CHAT, SHAREGPT], ids=lambda reader: str(reader.name))
@pytest.mark.parametrize(
    "value", ["text", 7, None, {"role": "user"}], ids=["text", "number", "null", "object"]
)
def test_messages_that_are_no_list(reader: Reader, value: object) -> None:
    """A row is known by a field that is not null; what the field holds is then held against the format."""
    row = {"messages": value, "conversations": value}
    assert reader.matches(row) == (value is not None)
    with pytest.raises(WrongType, match="expected a list of messages"):
        list(reader.read(row, AT))
