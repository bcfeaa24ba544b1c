"""StepSegmenter: where the steps of a text end."""

# ruff: noqa: RUF001 - texts in several scripts

from __future__ import annotations

import dataclasses

import pytest

from undertow.errors import UsageError
from undertow.monitor.steps import MAX_CHARS, STRATEGIES, Step, StepSegmenter, segment


def texts_of(text: str, strategy: str = "sentence", max_chars: int = MAX_CHARS) -> list[str]:
    """The steps of a text, without their offsets."""
    return [step.text for step in segment(text, strategy, max_chars)]


WHOLE = {
    "decimal": "The value is about 3.14 or 2.718 at most.",
    "e.g.": "Some of them, e.g. The Hague and i.e. Paris, are near.",
    "title": "It was Dr. Smith who met Mrs. Jones and Prof. Lee there.",
    "versus": "This is a matter of public vs. private interest here.",
    "figure": "The curve in Fig. 3 and the sum in Eq. 4 and No. 5 agree.",
    "initials": "The book by J. R. R. Tolkien is on the shelf.",
    "country": "It was made in the U.S. Army depot near the U.K. border.",
    "etc": "Apples, pears, etc. and other fruit are sold there.",
    "am": "They met at 9 a.m. on a Monday in the hall.",
    "url": "See https://example.org/a.b?c=d.e!f for what it says.",
    "file": "Open config.yaml and main.py in the editor now.",
    "version": "It needs version v1.2.3 or a later one.",
    "ellipsis in lower case": "Well... it may be so... or it may not.",
    "quoted question": 'The user asks "is it so?" and waits for it.',
    "bracketed stop": "The rest (fruit, bread, etc.) is in the box.",
    "numbered item": "1. Look at the first thing.",
    "numbered heading": "### 2. The second thing",
    "numbered step": "Step 1. Look at the first thing.",
    "bold number": "**3.** The third thing is here.",
    "inline code": "Call `a.b. C` and then `x! Y` in that order.",
    "inline formula": "Here $n! > 2. A$ holds for the rest of them.",
    "bracket formula": "Here \\(a. B\\) and \\[c. D\\] hold for the rest.",
    "displayed formula": "$$\na = 1. B\n\nc = 2\n$$",
    "displayed bracket formula": "\\[\n\na = 1. B\n\nc = 2\n\n\\]",
    "wrapped line": "This is a line that is wrapped\nand goes on in the next.",
    "fence": "```python\nx = 1. \n\nprint('A. B')\n```",
    "fence in the middle": "Run this: ```sh\na. B\n\nc\n```",
    "short answer": "Hmm. It is not so.",
    "short question": "Why? It is not so.",
    "short paragraph": "Hmm.\n\nIt is not so.",
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE.keys())
def test_not_torn(text: str) -> None:
    """What only looks like the end of a sentence does not end a step, followed by more or not."""
    assert texts_of(text) == [text]
    assert texts_of(f"{text}\n\nThen it goes on.")[0] == text


APART = {
    "full stops": "It is so. | It is not so. | It may be so.",
    "marks": "It is so! | Is it not so? | It may be so?! | It is so.",
    "lower case": "it is what it is. | wait for the rest. | that is it.",
    "closing quotes": 'He says "go away." | She says (stay here.) | They say “no way.” | Then all leave.',
    "bold": "**It is so.** | It is not so.",
    "etc at the end": "There are apples, pears, etc. | The rest is bread.",
    "country at the end": "It was made in the U.S. | The rest was made here.",
    "single letter at the end": "It must be option B. | However, C is near.",
    "ellipsis before a capital": "Let me think about it... | It may be so. | Let me see… | Yes it is.",
    "number at the end": "The sum of all is 42. | That is the answer.",
    "not a number": "The answer is no. | It may not be.",
    "url at the end": "It says so on https://example.org/a. | Then look there.",
    "price": "It costs $5. | That one costs $6. | Both are cheap.",
    "price with words": "It costs $5 and more. | That one costs $6. | Both are cheap.",
    "lone dollar": "The sign is $ here. | It is never closed. | So what is it?",
    "lone backtick": "The sign is ` here.\n | It is never closed. | So what is it?",
    "blank line": "No full stop here\n\n | and none here\n \t\n | but that is it",
    "windows line ends": "No full stop here\r\n\r\n | and none here\r\n | But that is it",
    "list": "Things to do:\n | - the first thing\n | - the second thing\n | * the third thing",
    "numbered list": "Things to do:\n | 1. the first thing\n | 2. the second thing\n | 10) the tenth thing",
    "lettered list": "the things to do\n | a) first of them\n | b) second of them",
    "nested list": "- the first thing\n  | - a thing below\n | - the second thing",
    "heading": "It was so\n | ## The next part\n | It is so.",
    "colon": "It is like this:\n | in lower case",
    "around a fence": "Look at this:\n\n | ```\na. B\n```\n\n | That was it.",
    "around a formula": "It gives this:\n\n | \\[ a = b. C \\]\n\n | That was it.",
    "cjk": "我不能这样做。 | 这是不对的！ | 你说对吗？ | 我想是的。",
    "cjk quotes": "他说：“我不能做。” | 然后他走了。",
    "arabic": "هل هذا صحيح؟ | نعم هذا صحيح. | شكرا جزيلا.",
    "hindi": "यह एक वाक्य है। | यह दूसरा वाक्य है।",
    "emoji": "That is great 😀! | So is this one 👩\u200d👧. | And here it ends.",
    "nul": "There is a \x00 in it. | And none in this one.",
}


@pytest.mark.parametrize("marked", APART.values(), ids=APART.keys())
def test_split_here(marked: str) -> None:
    """Steps end where the bars stand."""
    pieces = marked.split("| ")
    assert texts_of("".join(pieces)) == [piece.strip() for piece in pieces]


def test_cjk_needs_no_space() -> None:
    """A CJK full stop ends a step with nothing behind it."""
    assert texts_of("我不能这样做。这是不对的！好的，我想是的。") == [
        "我不能这样做。",
        "这是不对的！",
        "好的，我想是的。",
    ]


PARTS = "First words.\nMore words here.\n\nOther words. And more.\n\n```\na\n\nb\n```\n\nThe end."


@pytest.mark.parametrize(
    ("strategy", "max_chars", "expected"),
    [
        (
            "paragraph",
            1000,
            [
                "First words.\nMore words here.",
                "Other words. And more.",
                "```\na\n\nb\n```",
                "The end.",
            ],
        ),
        (
            "window",
            24,
            [
                "First words.\nMore words",
                "here.\n\nOther words. And",
                "more.\n\n```\na\n\nb\n```\n\nThe",
                "end.",
            ],
        ),
    ],
    ids=["paragraph", "window"],
)
def test_strategies(strategy: str, max_chars: int, expected: list[str]) -> None:
    """Paragraphs end at blank lines outside fences; windows hold as many words as fit."""
    assert texts_of(PARTS, strategy, max_chars) == expected


DISCOURSE = {
    "formula": "Solving this for x gives:\n\nx = 3 + 4\n | So the answer is 7.",
    "displayed formula": "So we have this:\n\n\\[ a = b. C \\]\n\n | Wait, that is wrong.",
    "list": "The things are:\n- one of them\n- two of them\n\n | Now look at the second.",
    "calculation": "First, 2 * 3 = 6\n\nThen, 6 * 7 = 42\n\n | So it is 42.",
    "labels": "The days are:\n\nDay 1: 4 of them\n\nDay 2: 8 of them\n\n | That is enough.",
    "variables": "It is clear that\nX = (1, 2)\nY_1 = (3, 4)\n | I see it now.",
    "heading": "some loose words\n | # The next part\n\n | Here is what it says.",
    "sentences": "It is so. | It is not so.\n | Then it may be so.",
}


@pytest.mark.parametrize("marked", DISCOURSE.values(), ids=DISCOURSE.keys())
def test_discourse(marked: str) -> None:
    """A lead-in keeps the formula or the list that it introduces; a new thought is a new step."""
    pieces = marked.split("| ")
    assert texts_of("".join(pieces), "discourse") == [piece.strip() for piece in pieces]


def test_step_closes_as_soon_as_it_can() -> None:
    """A sentence is returned with the first character of the next one, a paragraph with the blank line."""
    segmenter = StepSegmenter()
    assert segmenter.feed("This is the first one. ") == []
    assert segmenter.feed("T") == [Step("This is the first one.", 0, 22)]
    assert segmenter.feed("his is the next\n\n") == [Step("This is the next", 23, 39)]
    assert segmenter.close() == []


@pytest.mark.parametrize("opening", ["$x", "`x", "\\(x", "\\[x", "$$x"])
def test_unclosed_span_swallows_nothing(opening: str) -> None:
    """A mark that opens a formula or code and is never closed leaves the sentences after it apart."""
    text = f"Here is {opening} for you. " + "It goes on like this. " * 40
    assert len(texts_of(text)) == 41


def test_unclosed_fence_is_bounded() -> None:
    """A fence that is never closed is cut at line ends within the bound."""
    lines = [f"line {i} of it" for i in range(200)]
    steps = texts_of("```\n" + "\n".join(lines), max_chars=100)
    assert all(len(step) <= 100 for step in steps)
    assert [line for step in steps for line in step.split("\n")] == ["```", *lines]


def test_bound_prefers_space() -> None:
    """A step that does not end is cut at the last space within the bound, else at the bound."""
    assert texts_of("aaa bbb ccc dddddddddddd", max_chars=8) == ["aaa bbb", "ccc", "dddddddd", "dddd"]


def test_no_space_at_all() -> None:
    """A million characters without space come out in steps of the bound."""
    segmenter = StepSegmenter()
    chunk = "x" * 100_000
    steps = [step for _ in range(10) for step in segmenter.feed(chunk)] + segmenter.close()
    assert {len(step.text) for step in steps} == {MAX_CHARS}
    assert steps[-1].end == 1_000_000


@pytest.mark.parametrize("text", ["", " \n\t\u2003"], ids=["empty", "space"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing(strategy: str, text: str) -> None:
    """Text without a visible character has no steps."""
    assert segment(text, strategy) == []


def test_wrong_use() -> None:
    """An unknown strategy, a bound below 1, and text after the end are refused with a reason."""
    with pytest.raises(UsageError, match="sentence, paragraph, discourse, window"):
        StepSegmenter("sentences")
    with pytest.raises(UsageError, match="at least 1"):
        StepSegmenter(max_chars=0)
    segmenter = StepSegmenter()
    assert segmenter.feed("The end") == []
    assert segmenter.close() == [Step("The end", 0, 7)]
    assert segmenter.close() == []
    with pytest.raises(UsageError, match="closed"):
        segmenter.feed("more")


def test_step_is_frozen() -> None:
    """A step cannot be changed."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Step("a", 0, 1).end = 2  # type: ignore[misc]
