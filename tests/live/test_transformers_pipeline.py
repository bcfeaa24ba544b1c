"""The wrapped text-generation pipeline of transformers."""

from __future__ import annotations

from collections.abc import Callable
from sys import modules
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import undertow  # noqa: E402
from undertow.testing import scripted_monitor  # noqa: E402

tiny: Any = modules["tiny"]  # it stands beside this file
CALM, GOOD, SCRIPT = tiny.CALM, tiny.GOOD, tiny.SCRIPT
prompt_of = tiny.prompt_of


class TestPipeline:
    """The text-generation pipeline."""

    @pytest.fixture
    def pipe(self, model: Any, tokenizer: Any) -> Callable[..., Any]:
        """A pipeline, wrapped."""
        inner = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
        wrapped: Callable[..., Any] = undertow.wrap(inner, monitor=scripted_monitor(), policy="stop")
        return wrapped

    def test_one_chat(self, pipe: Callable[..., Any]) -> None:
        """A chat's record has its verdict, judged with the user's turn as request."""
        (record,) = pipe([{"role": "user", "content": "drift, please"}], max_new_tokens=300, do_sample=False)
        assert record["generated_text"][-1]["content"].rstrip() == f"<think>{GOOD}"
        assert record["undertow"].flagged
        assert record["finish_reason"] == "content_filter"

    @pytest.mark.parametrize("batch_size", [1, 3])
    def test_a_batch(self, pipe: Callable[..., Any], batch_size: int) -> None:
        """Each record of a list has its own verdict, whatever the size of the batches."""
        chats = [[{"role": "user", "content": request}] for request in SCRIPT]
        out = pipe(chats, batch_size=batch_size, max_new_tokens=300, do_sample=False)
        assert [records[0]["undertow"].flagged for records in out] == [False, True, True]
        assert out[0][0]["generated_text"][-1]["content"] == CALM

    def test_a_generator(self, pipe: Callable[..., Any]) -> None:
        """Inputs that come one by one are answered one by one."""
        chats = ([{"role": "user", "content": request}] for request in SCRIPT)
        out = pipe(chats, max_new_tokens=300, do_sample=False)
        assert [records[0]["undertow"].flagged for records in out] == [False, True, True]

    def test_plain_text(self, pipe: Callable[..., Any]) -> None:
        """A plain prompt is its own request."""
        (record,) = pipe(prompt_of("calm"), max_new_tokens=300, do_sample=False, return_full_text=False)
        assert record["generated_text"] == CALM
        assert record["undertow"].flagged is False

    def test_by_its_other_names(self, pipe: Callable[..., Any]) -> None:
        """`predict` and `transform`, which are calls as well, are judged."""
        for name in ("predict", "transform"):
            assert "undertow" in getattr(pipe, name)(prompt_of("calm"))[0]
