"""StepSegmenter: what holds for every text, every strategy and every chunking, and that it is linear."""

# ruff: noqa: RUF001 - texts in several scripts

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.monitor import steps as steps_module
from undertow.monitor.boundaries import LOOKAHEAD, Scanner
from undertow.monitor.steps import MAX_CHARS, STRATEGIES, Step, StepSegmenter, segment

FRAGMENTS = (
    *(
        ". ",
        ".",
        "! ",
        "?",
        "...",
        "… ",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\u2028",
        "\x85",
        "\x00",
        "\x1f",
        " ",
        "   ",
    ),
    *(
        "$",
        "$$",
        "`",
        "```",
        "~~~",
        "\\",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "[",
        "]",
        "(",
        ")",
        '"',
        "'",
        "”",
        "*",
        "_",
    ),
    *("Dr.", "U.S.", "e.g.", "etc.", "No.", "J.", "3.14", "1.", "12)", "a)", "- ", "# ", ":", "$5 and", "[1"),
    *(
        "Wait",
        "hmm",
        "The",
        "word",
        "I",
        "x_1 = ",
        "Then",
        "Day 1:",
        "http://a.b/c.d",
        "supercalifragilistic",
    ),
    *("。", "！", "」", "中文", "שלום", "؟", "😀", "👩\u200d👧", "e\u0301", "\ud83d"),
)
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=80).map("".join)
bounds = st.sampled_from([1, 2, 7, 30, 110, MAX_CHARS])
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
few = settings(max_examples=120, deadline=None)


def in_chunks(text: str, cuts: list[int], strategy: str, max_chars: int = MAX_CHARS) -> list[Step]:
    """The steps of a text that is fed in the pieces between the cuts."""
    segmenter = StepSegmenter(strategy, max_chars)
    borders = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    steps = [step for a, b in pairwise(borders) for step in segmenter.feed(text[a:b])]
    return steps + segmenter.close()


@every_strategy
@few
@given(text=texts, max_chars=bounds, cuts=st.lists(st.integers(0, 500), max_size=12))
def test_chunking(strategy: str, text: str, max_chars: int, cuts: list[int]) -> None:
    """Any chunks give the steps that the whole text gives."""
    assert in_chunks(text, cuts, strategy, max_chars) == segment(text, strategy, max_chars)


@every_strategy
@few
@given(text=texts, max_chars=bounds, cuts=st.lists(st.integers(0, 500), max_size=12))
def test_told_beforehand(strategy: str, text: str, max_chars: int, cuts: list[int]) -> None:
    """Whether a chunk will close a step is known before it is fed, and asking changes nothing."""
    segmenter = StepSegmenter(strategy, max_chars)
    steps: list[Step] = []
    for start, end in pairwise(sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})):
        told = segmenter.closes(text[start:end])
        closed = segmenter.feed(text[start:end])
        assert told == bool(closed)
        steps += closed
    assert steps + segmenter.close() == segment(text, strategy, max_chars)


@every_strategy
@few
@given(text=texts, max_chars=bounds)
def test_single_characters(strategy: str, text: str, max_chars: int) -> None:
    """Chunks of one character give the steps that the whole text gives."""
    assert in_chunks(text, list(range(len(text))), strategy, max_chars) == segment(text, strategy, max_chars)


@every_strategy
@few
@given(text=texts, more=texts, max_chars=bounds)
def test_closed_steps_stay(strategy: str, text: str, more: str, max_chars: int) -> None:
    """What was returned before more text came is the beginning of what the longer text gives."""
    early = StepSegmenter(strategy, max_chars).feed(text)
    assert segment(text + more, strategy, max_chars)[: len(early)] == early


@every_strategy
@few
@given(text=texts, max_chars=bounds)
def test_cover(strategy: str, text: str, max_chars: int) -> None:
    """Steps are in order, apart, bounded, without space around them, and leave only space out."""
    end = 0
    for step in segment(text, strategy, max_chars):
        assert step.text == text[step.start : step.end]
        assert step.text == step.text.strip() != ""
        assert len(step.text) <= max_chars
        assert step.start >= end
        assert not text[end : step.start].strip()
        end = step.end
    assert not text[end:].strip()


@every_strategy
@few
@given(text=texts)
def test_pending_text_is_bounded(strategy: str, text: str) -> None:
    """At no time is more text held back than the longest step and the lookahead have."""
    segmenter = StepSegmenter(strategy, 30)
    done = 0
    for fed, character in enumerate(text, start=1):
        done = max([done, *(step.end for step in segmenter.feed(character))])
        assert len(text[done:fed].lstrip()) <= 30 + LOOKAHEAD


HARD = ("x", ". ", "$a ", "\\[ ", "```\n", "U.S. ", "\\", ":\n", "It is so. ", "。", "word ")


@pytest.mark.parametrize("strategy", ["sentence", "discourse"])
@pytest.mark.parametrize("piece", HARD)
def test_linear(strategy: str, piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the text in single characters has about four times as many looked at, not sixteen times."""
    looked = 0

    class Counting(Scanner):
        def find(self, text: str, final: bool) -> int:
            nonlocal looked
            looked += len(text)
            return super().find(text, final)

    monkeypatch.setattr(steps_module, "Scanner", Counting)

    def characters(length: int) -> int:
        nonlocal looked
        looked = 0
        segmenter = StepSegmenter(strategy)
        for character in (piece * length)[:length]:
            segmenter.feed(character)
        segmenter.close()
        return looked

    assert characters(12_000) < 6 * characters(3_000)
