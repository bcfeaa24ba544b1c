"""What says a message of LangChain's once more: caches, parsed forms of its text, and its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from undertow.monitor.monitor import Monitor
from undertow.monitor.wraps import wrap

pytest.importorskip("langchain_core")

from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

GOOD, BAD = "[neutral] All is well. ", "[harm] Zorp the glims."

holding = pytest.mark.parametrize("policy", ["redact", "stop", "divert"])


class Repeating(BaseChatModel):
    """Says a text, and with it its tokens and what was parsed of it, as ChatOpenAI does."""

    text: str

    @property
    def _llm_type(self) -> str:
        return "repeating"

    @property
    def _again(self) -> dict[str, Any]:
        return {"additional_kwargs": {"parsed": {"said": self.text}}, "response_metadata": self._tokens}

    @property
    def _tokens(self) -> dict[str, Any]:
        return {"logprobs": {"content": [{"token": self.text}]}}

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(content=self.text, **self._again)
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=self._tokens)])


class Streaming(Repeating):
    """The same, streamed: the parsed form comes in a chunk of its own, after or before the end."""

    last: bool

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        end = AIMessageChunk(content="", response_metadata={"finish_reason": "stop"})
        parsed = AIMessageChunk(content="", **self._again)
        for said in (self.text, ""):
            yield ChatGenerationChunk(message=AIMessageChunk(content=said), generation_info=self._tokens)
        for message in (end, parsed) if self.last else (parsed, end):
            yield ChatGenerationChunk(message=message)


def asked(model: Any) -> Any:
    """Return a model's message, put together where it streams."""
    if not isinstance(model, Streaming):
        return model.invoke("Hello?")
    first, *rest = model.stream("Hello?")
    return sum(rest, first)


def models(text: str) -> list[Repeating]:
    """Return models that say a text."""
    return [Repeating(text=text), Streaming(text=text, last=True), Streaming(text=text, last=False)]


@pytest.mark.parametrize("which", range(3), ids=["whole", "parsed last", "parsed first"])
@holding
def test_what_was_kept_in_is_not_said_again(monitor: Monitor, policy: str, which: int) -> None:
    """Neither a parsed form nor tokens tell what the text no longer says; what was not changed is kept."""
    message = asked(wrap(models(GOOD + BAD)[which], monitor=monitor, policy=policy))
    assert message.response_metadata.pop("undertow")["flagged"]
    assert "All is well." in str(message)
    assert "glims" not in str(message)
    calm = asked(wrap(models(GOOD)[which], monitor=monitor, policy=policy))
    assert calm.additional_kwargs["parsed"] == {"said": GOOD}
    assert calm.response_metadata["undertow"]["schema"] == "undertow.verdict/1"


@holding
def test_a_generation_says_nothing_again(monitor: Monitor, policy: str) -> None:
    """Nor do the notes beside a message, which `generate` gives."""
    judging = wrap(Repeating(text=GOOD + BAD), monitor=monitor, policy=policy)
    (generation,) = judging._generate([]).generations
    assert "glims" not in str(generation.generation_info)


@holding
def test_a_cache_gives_no_unjudged_answer(monitor: Monitor, policy: str) -> None:
    """What a model said unwatched, or under another policy, is not what a wrapped one is asked for."""
    model = Repeating(text=GOOD + BAD, cache=InMemoryCache())
    watched = wrap(model, monitor=monitor)
    assert all("glims" in str(asked(one)) for one in (model, watched))
    held = wrap(model, monitor=monitor, policy=policy)
    for _ in range(2):
        message = asked(held)
        assert message.response_metadata["undertow"]["flagged"]
        assert "glims" not in str(message)
    assert asked(model).content == GOOD + BAD
