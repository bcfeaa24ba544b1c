"""Rows with a field for each part become traces, under any of the usual names."""

from __future__ import annotations

from typing import Any

import pytest

from undertow.errors import UsageError
from undertow.monitor.audit.readers.contract import WrongType
from undertow.monitor.audit.readers.fields import ROLES, FieldsReader
from undertow.monitor.trace import Origin, Trace, Unreadable

AT = Origin(path="runs/t.jsonl", format="fields", row=3)


def trace(row: dict[str, Any], **mapping: str) -> Trace:
    """Read a row that gives one trace."""
    (record,) = FieldsReader(mapping).read(row, AT)
    assert isinstance(record, Trace)
    return record


def test_plain_rows() -> None:
    """`{id, prompt, reasoning, answer, model}` is taken as it is, and the rest is kept beside it."""
    row = {
        "id": "a",
        "prompt": "P",
        "reasoning": " R\n",
        "answer": "A ",
        "model": "m",
        "seed": 7,
        "arm": ["x"],
    }
    assert trace(row) == Trace(
        id="a",
        prompt="P",
        reasoning=" R\n",
        answer="A ",
        model="m",
        reasoning_from="reasoning",
        origin=AT,
        metadata={"seed": 7, "arm": ["x"]},
    )


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part in ("prompt", "reasoning", "answer") for name in ROLES[part]]
)
def test_every_usual_name_is_read(part: str, name: str) -> None:
    """A part is found under each of its names."""
    row = {"reasoning": "R", **{name: "text"}} if part != "reasoning" else {name: "text"}
    assert getattr(trace(row), part) == "text"


@pytest.mark.parametrize(
    ("row", "reasoning", "answer", "source", "truncated"),
    [
        ({"cot": "<think>\n\nR", "response": "A"}, "\n\nR", "A", "cot", False),
        ({"cot": "<think>\n\nR</think>", "response": "A"}, "\n\nR", "A", "cot", False),
        ({"cot": "R</think>T", "response": "A"}, "R", "T\n\nA", "cot", False),
        ({"cot": "R", "response": "S</think>A"}, "R\n\nS", "A", "cot+tags:think", False),
        ({"cot": "R", "response": "</think>A"}, "R", "A", "cot", False),
        ({"cot": "it says <think> here", "response": "A"}, "it says <think> here", "A", "cot", False),
        ({"response": "<think>R</think>A"}, "R", "A", "tags:think", False),
        ({"response": "<think>R"}, "R", None, "tags:think", True),
        ({"response": "<think>\n\n</think>A"}, None, "A", None, False),
        ({"response": "R</think>A"}, "R", "A", "tags:think", False),
        ({"prompt": "P<think>\n", "response": "R"}, "R", None, "tags:think", True),
        ({"response": "A"}, None, "A", None, False),
        ({"response": "A", "model": "deepseek-r1"}, None, "A", None, False),
        ({"cot": " ", "response": ""}, None, None, None, False),
        ({"cot": None, "response": None}, None, None, None, False),
    ],
    ids=[
        "tag in the field", "tags in the field", "closing tag in the field", "it goes on in the answer",
        "late closing tag", "a tag spoken about", "tags", "unclosed", "empty block", "lone closing tag",
        "opened by the prompt", "no reasoning", "no tag, though the model has some", "blank", "null",
    ],
)  # fmt: skip
def test_tags_are_read_wherever_they_stand(
    row: dict[str, Any], reasoning: str | None, answer: str | None, source: str | None, truncated: bool
) -> None:
    """Reasoning saved with its tags, in its own field or in the answer, comes out without them."""
    found = trace(row)
    assert (found.reasoning, found.answer) == (reasoning, answer)
    assert (found.reasoning_from, found.truncated) == (source, truncated)


@pytest.mark.parametrize(
    ("row", "reasoning", "source"),
    [
        ({"thinking_process": "R s", "response": "<think>R s\n</think>A"}, "R s", "thinking_process"),
        ({"thinking_process": "R", "response": "<think>R and more</think>A"}, "R and more", "tags:think"),
        ({"reasoning": "R  s", "cot": "R\ns", "answer": "A"}, "R  s", "reasoning"),
        ({"reasoning": "R", "cot": "S", "answer": "A"}, "R\n\nS", "reasoning+cot"),
        ({"reasoning": "", "cot": "S", "answer": "A"}, "S", "cot"),
    ],
    ids=["field and tags", "the tags have more", "two fields", "two that differ", "one blank"],
)
def test_the_same_reasoning_is_judged_once(row: dict[str, Any], reasoning: str, source: str) -> None:
    """What two places both hold is kept once; what differs is kept from each."""
    found = trace(row)
    assert (found.reasoning, found.reasoning_from) == (reasoning, source)


def test_a_response_comes_before_an_answer() -> None:
    """Beside a response, `answer` is the reference that a data set gives; it stays with the rest."""
    found = trace({"question": "P", "answer": "42", "response": "<think>R</think>It is 41."})
    assert found.answer == "It is 41."
    assert found.metadata == {"answer": "42"}


def test_a_mapping_names_the_fields() -> None:
    """A mapped part is read from its field and no other; the other parts keep their usual names."""
    row = {"question": "P", "x": "R", "cot": "not this", "answer": "A", "who": "m", "n": 5}
    found = trace(row, reasoning="x", model="who", id="n")
    assert (found.id, found.prompt, found.reasoning, found.answer, found.model) == ("5", "P", "R", "A", "m")
    assert found.reasoning_from == "x"
    assert found.metadata == {"cot": "not this"}


def test_a_mapping_of_no_part_is_refused() -> None:
    """A part that there is not is wrong usage; the message says which there are."""
    with pytest.raises(UsageError, match=r"resoning.*prompt, reasoning, answer, model, id"):
        FieldsReader({"resoning": "x"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": 7, "reasoning": "R"}, "prompt holds a number; expected text"),
        ({"reasoning": ["R"], "answer": "A"}, "reasoning holds a list; expected text"),
        ({"reasoning": "R", "answer": {"text": "A"}}, "answer holds an object; expected text"),
        ({"reasoning": True}, "reasoning holds true or false; expected text"),
        ({"reasoning": [{"text": "R"}], "cot": "", "answer": "A"}, "reasoning holds a list; expected text"),
        ({"reasoning": "R", "response": " ", "output": ["A"]}, "output holds a list; expected text"),
    ],
    ids=["number", "list", "object", "boolean", "list beside blank text", "answer beside blank text"],
)
def test_wrong_types(row: dict[str, Any], message: str) -> None:
    """A part that is no text is named with what it is, and nothing of what it holds is said."""
    with pytest.raises(WrongType, match=message):
        list(FieldsReader().read(row, AT))


def test_a_name_that_means_something_else_gives_way() -> None:
    """Where one of the names holds text, another that holds something else is not the part."""
    row = {"reasoning": True, "cot": "R", "output": {"tokens": 7}, "answer": "A"}
    found = trace(row)
    assert (found.reasoning, found.answer) == ("R", "A")
    assert found.metadata == {"output": {"tokens": 7}}


def test_a_row_without_text() -> None:
    """A row of a known file that has neither part is a record all the same."""
    (record,) = FieldsReader().read({"prompt": "P"}, AT)
    assert isinstance(record, Unreadable)
    assert (record.id, record.problem.reason) == ("t:3", "no_text")


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"id": 12}, "12"),
        ({"id": "", "uuid": "u"}, "u"),
        ({"id": {"a": 1}}, "t:3"),
        ({"id": True}, "t:3"),
        ({}, "t:3"),
    ],
    ids=["number", "blank", "object", "boolean", "none"],
)
def test_ids(row: dict[str, Any], name: str) -> None:
    """A row is called what it calls itself, or by its file and its number."""
    assert trace({"reasoning": "R", **row}).id == name


@pytest.mark.parametrize(
    ("row", "known"),
    [
        ({"reasoning": "R"}, True),
        ({"answer": None}, True),
        ({"response": {"body": 1}}, False),
        ({"prompt": "P"}, False),
        ({"text": "R"}, False),
    ],
    ids=["reasoning", "null", "an object", "a prompt alone", "another name"],
)
def test_what_it_takes_for_its_own(row: dict[str, Any], known: bool) -> None:
    """A row with text for the reasoning or the answer is known; an object under the name is not."""
    assert FieldsReader().matches(row) is known
