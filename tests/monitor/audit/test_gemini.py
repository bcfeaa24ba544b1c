"""Replies of the Gemini API: thoughts apart from what is said, as the summary that they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from undertow.monitor.audit import Record, read
from undertow.monitor.trace import Trace, Unreadable

Jsonl = Callable[..., Path]
THOUGHT, SAID = {"text": "R", "thought": True}, {"text": "A"}
ASKED = {"contents": [{"role": "user", "parts": [{"text": "P"}]}]}


def reply(*parts: Mapping[str, Any], tokens: int = 0) -> dict[str, Any]:
    """Make a reply as the API sends it."""
    return {
        "candidates": [
            {"content": {"parts": list(parts), "role": "model"}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 1, "thoughtsTokenCount": tokens, "totalTokenCount": 9},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "g1",
    }


def dumped(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Make a reply as google-genai's `model_dump_json` saves it."""
    full = [{"text": None, "thought": None, "function_call": None, **part} for part in parts]
    return {
        "candidates": [{"content": {"parts": full, "role": "model"}, "finish_reason": "STOP", "index": 0}],
        "usage_metadata": {"thoughts_token_count": 7},
        "model_version": "gemini-2.5-flash",
        "response_id": "g1",
        "prompt_feedback": None,
    }


def one(path: Path) -> Trace:
    """Read a file with one trace."""
    (found,) = read(path)
    assert isinstance(found, Trace)
    return found


@pytest.mark.parametrize(
    ("row", "prompt", "name"),
    [
        (reply(THOUGHT, SAID), "", "g1"),
        (dumped(THOUGHT, SAID), "", "g1"),
        ({"key": "k", "request": ASKED, "response": reply(THOUGHT, SAID)}, "P", "k"),
        (
            {"id": "x", "contents": [*ASKED["contents"], {"role": "model", "parts": [THOUGHT, SAID]}]},
            "P",
            "x",
        ),
    ],
    ids=["reply", "saved by the client", "line of a batch", "conversation"],
)
def test_thoughts_are_a_summary(jsonl: Jsonl, row: dict[str, Any], prompt: str, name: str) -> None:
    """In each shape thoughts are reasoning that was summarised, and the rest is the answer."""
    found = one(jsonl(row))
    assert (found.origin.format, found.id) == ("gemini", name)
    assert (found.prompt, found.reasoning, found.answer) == (prompt, "R", "A")
    assert found.caveat is not None
    assert found.caveat.reason == "summary_only"


def test_thoughts_that_were_not_asked_for(jsonl: Jsonl) -> None:
    """A reply whose thoughts were only counted says so; one of a model that has none does not."""
    counted, none = one(jsonl(reply(SAID, tokens=7))), one(jsonl(reply(SAID)))
    assert counted.caveat is not None
    assert (counted.caveat.reason, counted.model) == ("reasoning_stripped", "gemini-2.5-flash")
    assert none.caveat is None


def test_a_blocked_request_is_a_record(jsonl: Jsonl) -> None:
    """A prompt or an answer that was blocked is not left out, and not safe."""
    prompt = {"responseId": "x", "promptFeedback": {"blockReason": "SAFETY"}}
    answer = {"responseId": "x", "candidates": [{"content": {}, "finishReason": "SAFETY"}]}
    silent = {"responseId": "x", "candidates": [{"finishReason": "SAFETY", "index": 0}]}
    for row in (prompt, answer, silent, {"key": "x", "response": prompt}):
        found: list[Record] = list(read(jsonl(row)))
        assert [(r.id, r.problem.reason) for r in found if isinstance(r, Unreadable)] == [
            ("x", "no_assistant_turn")
        ]


def test_each_candidate_is_a_trace(jsonl: Jsonl) -> None:
    """Several candidates are told apart by their turn; a call of a function among the parts is no text."""
    row = reply(THOUGHT, {"functionCall": {"name": "f", "args": {}}}, SAID)
    row["candidates"] *= 2
    found = list(read(jsonl(row)))
    assert [(record.id, record.origin.turn) for record in found] == [("g1#0", 0), ("g1#1", 1)]
    assert [record.answer for record in found if isinstance(record, Trace)] == ["A", "A"]
