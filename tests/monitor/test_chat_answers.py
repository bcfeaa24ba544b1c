"""Chat completions that a policy holds back: what goes on of their parts and of what stands beside the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest

from undertow.monitor.wraps.answers import Asked
from undertow.monitor.wraps.chat import ChatAnswer
from undertow.monitor.policy import Policy
from undertow.testing import scripted_monitor

Json: TypeAlias = dict[str, Any]

GOOD, BAD, REPLACED = "[neutral] One is fine. ", "[harm] Zorp the glims. ", "[redacted by undertow] "
TOLD: Json = {"logprobs": {"content": [{"token": "zorp", "logprob": -0.1}]}, "token_ids": [7, 8]}
"""What some servers say beside the text."""

holding = pytest.mark.parametrize("action", ["redact", "stop", "divert"])


def answer_under(action: Any) -> ChatAnswer:
    """Return what judges an answer under a policy."""
    return ChatAnswer(Asked(scripted_monitor(), Policy(action=action, diversion="Sorry.")))


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
    answer, left = answer_under(action), []
    for choice in choices:
        chunk = {"id": "a", "model": "m", "choices": [choice]}
        left += answer.take(chunk, answer.read(chunk))
    said = json.dumps([out.payload for out in [*left, *answer.end()]])
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
