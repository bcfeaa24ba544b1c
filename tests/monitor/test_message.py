"""A reply is read in the same way by an audit and by a wrap: reasoning, answer, and what was withheld."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from undertow.monitor.audit.readers import reader_of
from undertow.monitor.audit.sources import records_of
from undertow.monitor.policy import Policy
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.monitor.wraps.answers import Answer, asked_of
from undertow.monitor.wraps.chat import ChatAnswer
from undertow.monitor.wraps.messages import MessagesAnswer
from undertow.monitor.wraps.responses import ResponsesAnswer
from undertow.testing import scripted_monitor

MONITOR = scripted_monitor()
R, A = "First I think. Then I think more.", "Here it is. All is done now."
SPENT = {"completion_tokens_details": {"reasoning_tokens": 500}}
TEXT: Any = {"type": "text", "text": A}
MESSAGE: Any = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": A}]}


def chat(model: str = "m", usage: object = None, **message: object) -> dict[str, Any]:
    """Return a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def thought(text: str, **more: object) -> dict[str, Any]:
    """Return a block of Anthropic's thinking."""
    return {"type": "thinking", "thinking": text, **more}


def detail(what: str, **more: object) -> dict[str, Any]:
    """Return one of OpenRouter's reasoning details."""
    return {"type": f"reasoning.{what}", **more}


def response(*items: dict[str, Any], usage: object = None) -> dict[str, Any]:
    """Return a reply of the Responses API, with an answer after these items."""
    reply: dict[str, Any] = {"id": "r", "object": "response", "status": "completed", "model": "gpt-oss-120b"}
    return {**reply, "output": [*items, MESSAGE], "usage": usage}


def item(
    summary: str = "", content: str = "", kind: str = "reasoning_text", **more: object
) -> dict[str, Any]:
    """Return a reasoning item of the Responses API."""
    sums = [{"type": "summary_text", "text": summary}] if summary else []
    texts = {"content": [{"type": kind, "text": content}]} if content else {}
    return {"type": "reasoning", "id": "i", "summary": sums, **texts, **more}


def claude(*blocks: dict[str, Any], model: str = "claude-3-7-sonnet-20250219") -> dict[str, Any]:
    """Return a message of Anthropic's API, with an answer after these blocks."""
    head = {"id": "m", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn"}
    return {**head, "content": [*blocks, TEXT], "usage": {"output_tokens": 3}}


REPLIES: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    # name: the reply, its reasoning, why it is not judged in full
    "answer alone": (chat(content=A), None, "no_reasoning"),
    "tokens spent, nothing given": (chat("o3", SPENT, content=A), None, "reasoning_stripped"),
    "tokens spent, and given": (chat(usage=SPENT, content=A, reasoning_content=R), R, None),
    "reasoning_content": (chat(content=A, reasoning_content=R), R, None),
    "two fields": (chat(content=A, reasoning=R + "\n", reasoning_content=R), R, None),
    "a blank field": (chat(content=A, reasoning=R, reasoning_content="\n"), R, None),
    "field and tags": (chat(content=f"<think>{R}</think>{A}", reasoning_content=R), R, None),
    "more before a late tag": (chat(content=f"So be it.</think>{A}", reasoning=R), f"{R}\n\nSo be it.", None),
    "details": (chat(content=A, reasoning=R, reasoning_details=[detail("text", text=R)]), R, None),
    "details without a break": (
        chat(content=A, reasoning=R + R, reasoning_details=[detail("text", text=R)] * 2),
        R + R,
        None,
    ),
    "several details": (
        chat(content=A, reasoning_details=[detail("text", text=R), detail("text", text="So be it.")]),
        f"{R}\n\nSo be it.",
        None,
    ),
    "summary detail": (
        chat(content=A, reasoning_details=[detail("summary", summary=R)]),
        R,
        "summary_only",
    ),
    "empty summary": (chat(content=A, reasoning_details=[detail("summary", summary="")]), None, "encrypted"),
    "encrypted detail": (
        chat(content=A, reasoning_details=[detail("encrypted", data="x")]),
        None,
        "encrypted",
    ),
    "signature without text": (
        chat(content=A, reasoning_details=[detail("text", text="", signature="s")]),
        None,
        "encrypted",
    ),
    "a detail of a new kind": (chat(content=A, reasoning_details=[detail("new", text=R)]), R, None),
    "Claude's by LiteLLM": (
        chat(
            "claude-sonnet-4-5", content=A, reasoning_content=R, thinking_blocks=[thought(R, signature="s")]
        ),
        R,
        "summary_only",
    ),
    "a field that LiteLLM moved": (
        chat(content=A, reasoning_content="", provider_specific_fields={"reasoning": R}),
        R,
        None,
    ),
    "a refusal that LiteLLM moved": (
        chat(content=None, provider_specific_fields={"refusal": A}),
        None,
        "no_reasoning",
    ),
    "Gemini's by LiteLLM": (chat("gemini/gemini-2.5-pro", content=A, reasoning_content=R), R, "summary_only"),
    "Claude's tags are its own": (chat("claude-opus-4-5", content=f"<think>{R}</think>{A}"), R, None),
    "distilled from Claude": (chat("me/qwen3-claude-opus-4", content=A, reasoning=R), R, None),
    "Mistral's parts": (
        chat(content=[{"type": "thinking", "thinking": [{"type": "text", "text": R}]}, TEXT]),
        R,
        None,
    ),
    "part with a text": (chat(content=[{"type": "reasoning", "text": R}, TEXT]), R, None),
    "part with a content": (chat(content=[{"type": "reasoning", "content": R}, TEXT]), R, None),
    "part with a summary": (
        chat(content=[{"type": "reasoning", "summary": [{"text": "In short."}], "content": R}, TEXT]),
        f"In short.\n\n{R}",
        None,
    ),
    "part only summed up": (
        chat(
            content=[{"type": "reasoning", "summary": [{"text": "In short."}, {"text": "So be it."}]}, TEXT]
        ),
        "In short.\n\nSo be it.",
        "summary_only",
    ),
    "Bedrock's, encrypted": (
        chat(content=[{"type": "reasoning_content", "reasoning_content": {"redacted_content": "x"}}, TEXT]),
        None,
        "encrypted",
    ),
    "redacted part": (chat(content=[{"type": "redacted_thinking", "data": "x"}, TEXT]), None, "encrypted"),
    "two thoughts": (chat(content=[thought(R), thought("So be it."), TEXT]), f"{R}\n\nSo be it.", None),
    "response without reasoning": (response(), None, "no_reasoning"),
    "response, tokens spent": (response(usage=SPENT), None, "reasoning_stripped"),
    "bare item": (response(item()), None, "encrypted"),
    "encrypted item": (response(item(encrypted_content="x")), None, "encrypted"),
    "summary item": (response(item(R)), R, "summary_only"),
    "item with its text": (response(item("", R)), R, None),
    "item with a text of another type": (response(item("", R, "text")), R, None),
    "text beside a summary": (response(item("In short.", R)), f"In short.\n\n{R}", None),
    "an item only summed up": (
        response(item("", R), item("In short.")),
        f"{R}\n\nIn short.",
        "summary_only",
    ),
    "Claude 3.7": (claude(thought(R, signature="s")), R, None),
    "Claude 4": (claude(thought(R, signature="s"), model="claude-sonnet-4-5"), R, "summary_only"),
    "Claude's API, another's model": (claude(thought(R, signature="s"), model="glm-4.6"), R, None),
    "thinking left out": (claude(thought("", signature="s"), model="claude-opus-4-7"), None, "encrypted"),
    "redacted thinking": (claude({"type": "redacted_thinking", "data": "x"}), None, "encrypted"),
}


def judged_live(reply: dict[str, Any], action: Any) -> tuple[Trace, TraceVerdict]:
    """Judge a reply as a wrap does."""
    kinds: dict[str, type[Answer]] = {"response": ResponsesAnswer, "chat.completion": ChatAnswer}
    kind = kinds.get(reply.get("object", ""), MessagesAnswer)
    answer = kind(asked_of({"model": reply["model"]}, MONITOR, Policy(action=action)))
    answer.whole(deepcopy(reply))
    return answer.gates[0].trace, answer.verdicts[0]


def judged_later(reply: dict[str, Any]) -> tuple[Trace, TraceVerdict]:
    """Judge a saved reply as an audit does."""
    (record,) = records_of(reply, reader_of(reply), 0)
    assert isinstance(record, Trace)
    (verdict,) = MONITOR.judge([record])
    return record, verdict


@pytest.mark.parametrize(("reply", "reasoning", "reason"), REPLIES.values(), ids=REPLIES)
def test_a_reply_is_read_alike_live_and_saved(
    reply: dict[str, Any], reasoning: str | None, reason: str | None
) -> None:
    """The same texts in the same channels, and the same verdict with the same reason why it is not full."""
    for trace, verdict in (judged_live(reply, "observe"), judged_live(reply, "flag"), judged_later(reply)):
        assert (trace.reasoning or None, trace.answer) == (reasoning, A)
        assert (verdict.not_assessed.reason if verdict.not_assessed else None) == reason
    own = {"id", "origin", "model"}
    live, later = judged_live(reply, "observe")[1], judged_later(reply)[1]
    assert live.model_dump(exclude=own) == later.model_dump(exclude=own)


def test_what_a_stream_withholds_is_known_at_its_end() -> None:
    """A signature follows its text, and the count of tokens comes last; neither alone means missing text."""
    deltas: list[dict[str, Any]] = [
        {"reasoning_content": R, "thinking_blocks": [thought(R)]},
        {"reasoning_content": "", "thinking_blocks": [thought("", signature="s")]},
        {"content": A},
    ]
    for said, reason in ((deltas, None), (deltas[1:], "encrypted"), (deltas[2:], "reasoning_stripped")):
        answer = ChatAnswer(asked_of({"model": "claude-3-7-sonnet"}, MONITOR, Policy()))
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in said]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        for chunk in [*chunks, {"choices": [], "usage": SPENT}]:
            answer.take(chunk, answer.read(chunk))
        answer.end()
        found = answer.verdicts[0].not_assessed
        assert (found.reason if found else None) == reason


FLAGGED = "First I think. [drift] Then I plan it."
COPIES: dict[str, dict[str, Any]] = {
    "three fields": {"content": f"<think>{FLAGGED}</think>{A}", "thinking_blocks": [thought(FLAGGED)]},
    "a detail of a new kind": {"reasoning_details": [detail("new", text=FLAGGED, signature="s")]},
    "a summary in a thought": {"thinking_blocks": [thought("", summary=FLAGGED, signature="s")]},
    "a detail that is a text": {"reasoning_details": [FLAGGED]},
    "a refusal that LiteLLM moved": {"provider_specific_fields": {"refusal": FLAGGED}},
}


@pytest.mark.parametrize("action", ["redact", "stop"])
@pytest.mark.parametrize("copies", COPIES.values(), ids=COPIES)
def test_a_repeated_text_leaves_in_no_field(copies: dict[str, Any], action: Any) -> None:
    """Text that is judged once because two fields repeat it is held back in both."""
    reply = chat(**{"content": A, "reasoning_content": FLAGGED, **copies})
    answer = ChatAnswer(asked_of({"model": "m"}, MONITOR, Policy(action=action)))
    assert "[drift]" not in str(answer.whole(deepcopy(reply)))
