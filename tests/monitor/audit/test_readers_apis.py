"""Replies of the APIs, made by the APIs' own types, come back with the reasoning that was put in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.monitor.audit import Record, read
from undertow.monitor.trace import Trace, Unreadable

Jsonl = Callable[..., Path]
ASKED = [{"role": "system", "content": "be good"}, {"role": "user", "content": "P"}]


def saved(reply: Any) -> dict[str, Any]:
    """Save a reply as its SDK does."""
    row = json.loads(reply.model_dump_json(exclude_none=True))
    assert isinstance(row, dict)
    return row


def completion(reasoning: dict[str, str], *, n: int = 1, tokens: int = 0) -> dict[str, Any]:
    """Make a chat completion with the `openai` package; servers put the reasoning in fields of their own."""
    from openai.types.chat import ChatCompletion

    message = {"role": "assistant", "content": "A", **reasoning}
    return saved(
        ChatCompletion.model_validate(
            {
                "id": "c1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [{"index": i, "finish_reason": "stop", "message": message} for i in range(n)],
                "usage": {
                    "prompt_tokens": 1,
                    "completion_tokens": 9,
                    "total_tokens": 10,
                    "completion_tokens_details": {"reasoning_tokens": tokens},
                },
            }
        )
    )


def response(*items: dict[str, Any], tokens: int = 0) -> dict[str, Any]:
    """Make a response with the `openai` package."""
    from openai.types.responses import Response

    said = {"type": "output_text", "text": "A", "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [said]}
    return saved(
        Response.model_validate(
            {
                "id": "r1",
                "object": "response",
                "created_at": 0,
                "model": "m",
                "output": [*items, message],
                "parallel_tool_calls": False,
                "tool_choice": "auto",
                "tools": [],
                "usage": {
                    "input_tokens": 1,
                    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                    "output_tokens": 9,
                    "output_tokens_details": {"reasoning_tokens": tokens},
                    "total_tokens": 10,
                },
            }
        )
    )


def thought(**held: Any) -> dict[str, Any]:
    """Make a reasoning item of a response."""
    return {"id": "t", "type": "reasoning", "summary": [], **held}


def claude(*blocks: dict[str, Any], model: str = "claude-3-7-sonnet-20250219") -> dict[str, Any]:
    """Make a message with the `anthropic` package."""
    from anthropic.types import Message

    return saved(
        Message.model_validate(
            {
                "id": "a1",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [*blocks, {"type": "text", "text": "A"}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 1, "output_tokens": 2},
            }
        )
    )


THINKING = {"type": "thinking", "thinking": "R", "signature": "s"}
ROWS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "completion": ("openai-completion", completion({"reasoning_content": "R"}), "", "c1"),
    "newer vLLM": ("openai-completion", {"messages": ASKED, **completion({"reasoning": "R"})}, "P", "c1"),
    "raw text with its reasoning": (
        "openai-completion",
        {"id": "c2", "prompt": "P", "choices": [{"index": 0, "text": "A", "reasoning_content": "R"}]},
        "P",
        "c2",
    ),
    "request beside": (
        "openai-completion",
        {"request": {"messages": ASKED}, "response": completion({"reasoning": "R"})},
        "P",
        "c1",
    ),
    "batch": (
        "openai-batch",
        {"id": "b", "custom_id": "x", "error": None,
         "response": {"status_code": 200, "request_id": "q", "body": completion({"reasoning_content": "R"})}},
        "",
        "x",
    ),
    "batch of responses": (
        "openai-batch",
        {"id": "b", "custom_id": "x", "error": None,
         "response": {"body": response(thought(content=[{"type": "reasoning_text", "text": "R"}]))}},
        "",
        "x",
    ),
    "response": (
        "openai-responses",
        {"input": "P", **response(thought(content=[{"type": "reasoning_text", "text": "R"}]))},
        "P",
        "r1",
    ),
    "response beside its request": (
        "openai-responses",
        {"request": {"input": ASKED},
         "response": response(thought(content=[{"type": "reasoning_text", "text": "R"}]))},
        "P",
        "r1",
    ),
    "anthropic": ("anthropic", claude(THINKING), "", "a1"),
    "anthropic beside its request": (
        "anthropic", {"request": {"messages": ASKED}, "response": claude(THINKING)}, "P", "a1"
    ),
    "anthropic batch": (
        "anthropic", {"custom_id": "x", "result": {"type": "succeeded", "message": claude(THINKING)}}, "", "x"
    ),
    "vLLM": (
        "vllm",
        {"request_id": "v", "prompt": "P", "prompt_token_ids": [1], "finished": True,
         "outputs": [{"index": 0, "text": "<think>R</think>A", "token_ids": [2], "finish_reason": "stop"}]},
        "P",
        "v",
    ),
    "SGLang": (
        "vllm",
        {"prompt": "P<think>\n", "text": "R</think>A", "meta_info": {"id": "g", "finish_reason": {}}},
        "P<think>\n",
        "g",
    ),
}  # fmt: skip
"""The format, a row, its prompt and its id."""


@pytest.mark.parametrize("case", ROWS)
def test_round_trip(jsonl: Jsonl, case: str) -> None:
    """Each shape is known by what it holds, and gives back its prompt, reasoning and answer."""
    name, row, prompt, own = ROWS[case]
    (found,) = read(jsonl(row))
    assert isinstance(found, Trace)
    assert (found.origin.format, found.id) == (name, own)
    assert (found.prompt, found.reasoning, found.answer) == (prompt, "R", "A")
    assert found.caveat is None
    assert not found.truncated


@pytest.mark.parametrize(
    ("row", "reason", "reasoning"),
    [
        (completion({}, tokens=7), "reasoning_stripped", None),
        (response(tokens=7), "reasoning_stripped", None),
        (response(thought(summary=[{"type": "summary_text", "text": "S"}]), tokens=7), "summary_only", "S"),
        (response(thought(encrypted_content="x")), "encrypted", None),
        (response(thought()), "encrypted", None),
        (claude({"type": "redacted_thinking", "data": "x"}), "encrypted", None),
        (claude(THINKING | {"thinking": ""}), "encrypted", None),
        (claude(THINKING, model="claude-sonnet-4-5"), "summary_only", "R"),
    ],
    ids=[
        "tokens but no text", "response without items", "summary", "encrypted", "left out",
        "redacted", "signature alone", "Claude 4 summarises",
    ],
)  # fmt: skip
def test_what_is_not_the_reasoning_says_so(
    jsonl: Jsonl, row: dict[str, Any], reason: str, reasoning: str | None
) -> None:
    """A summary, an encrypted item and reasoning that was only counted are never judged in full."""
    (found,) = read(jsonl(row))
    assert isinstance(found, Trace)
    assert found.caveat is not None
    assert (found.caveat.reason, found.reasoning, found.answer) == (reason, reasoning, "A")


def test_each_choice_is_a_trace(jsonl: Jsonl) -> None:
    """Several samples of one request are told apart by their turn."""
    found = list(read(jsonl(completion({"reasoning": "R"}, n=3))))
    assert [record.id for record in found] == ["c1#0", "c1#1", "c1#2"]
    assert [record.origin.turn for record in found] == [0, 1, 2]


FAILED: dict[str, dict[str, Any]] = {
    "batch error": {"custom_id": "x", "response": None, "error": {"code": "e", "message": "m"}},
    "batch body": {"custom_id": "x", "response": {"body": {"error": {"message": "m"}}}, "error": None},
    "anthropic batch": {"custom_id": "x", "result": {"type": "errored", "error": {}}},
    "no choice": {"id": "x", "choices": []},
}


@pytest.mark.parametrize("case", FAILED)
def test_a_failed_request_is_a_record(jsonl: Jsonl, case: str) -> None:
    """A request without a reply is not left out, and not safe."""
    found: list[Record] = list(read(jsonl(FAILED[case])))
    assert [(r.id, r.problem.reason) for r in found if isinstance(r, Unreadable)] == [
        ("x", "no_assistant_turn")
    ]
