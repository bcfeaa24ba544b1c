"""Lessons about whole texts, from files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers.base import StepClassifierBase
from undertow.classifiers.contract import Probabilities, StepInput
from undertow.classifiers.corpus import LabelledTrace
from undertow.classifiers.lessons import (
    Lesson,
    estimated,
    of_labelled,
    read_pairs,
    read_unlabelled,
    read_whole_traces,
)
from undertow.errors import InputError


def written(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as JSON Lines, gzipped where the name says so."""
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_labels_become_a_lesson() -> None:
    """A labelled trace gives its steps, their labels, and that it turns unsafe."""
    trace = LabelledTrace(
        "1", "safekey", "g", "group", "How?", "ab cd", ((0, 2), (3, 5)), ("aware", "drift"), 2
    )
    (lesson,) = of_labelled([trace], ["safekey"])
    assert lesson == Lesson(
        "How?", ("ab", "cd"), labels=(1, 2), harmful_request=True, group="group", generator="g"
    )
    assert lesson.unsafe is True


@pytest.mark.parametrize("name", ["traces.jsonl", "traces.jsonl.gz"])
def test_what_is_said_of_whole_traces(tmp_path: Path, name: str) -> None:
    """Benign traces are neutral throughout, safe ones safe; what nobody vouches for is left out."""
    row = {"prompt": None, "reasoning": "One. Two. Three.", "units": [[0, 4], [5, 9], [10, 16]], "group": "g"}
    said = [row | {"labels": labels} for labels in ({"selected_as": "benign"}, {"selected_as": "safe"}, {})]
    found = read_whole_traces(written(tmp_path / name, said), longest=2)
    assert [(one.whole, one.steps, one.unsafe) for one in found] == [
        ("neutral", ("One.", "Two."), False),
        ("safe", ("One.", "Two."), False),
    ]


def test_traces_of_which_nothing_is_said(tmp_path: Path) -> None:
    """What nobody vouches for is read as it stands, unless it is in another language than English."""
    row = {"prompt": "Q", "reasoning": "It is one. We do two.", "units": [[0, 10], [11, 21]], "group": "g"}
    chinese = {
        "reasoning": "\u6211\u4eec\u9700\u8981\u8003\u8651\u8fd9\u4e2a\u95ee\u9898",
        "units": [[0, 11]],
    }
    rows: list[dict[str, object]] = [
        row | {"labels": {}, "generator": "m"},
        row | {"labels": {"selected_as": "safe"}},
        {**row, "labels": {}, **chinese},
        row | {"labels": {}, "units": []},
    ]
    found = read_unlabelled(written(tmp_path / "traces.jsonl", rows))
    assert found == [Lesson("Q", ("It is one.", "We do two."), group="g", generator="m")]


def test_a_classifier_says_what_it_holds_them_to_be() -> None:
    """Each step is judged after those before it; a trace that cannot be judged is left out."""

    class Teacher(StepClassifierBase):
        name = digest = "teacher"

        def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
            rows = [[1.0, 0, 0, 0] if not step.history else [0, 0, 0.25, 0.75] for step in steps]
            return np.array(
                [[np.nan] * 4 if step.text == "?" else row for step, row in zip(steps, rows, strict=True)]
            )

    lessons = [Lesson("Q", ("a", "b"), group="g"), Lesson("Q", ("a", "?"))]
    (lesson,) = estimated(lessons, Teacher())
    assert lesson == Lesson("Q", ("a", "b"), estimates=((1, 0, 0, 0), (0, 0, 0.25, 0.75)), group="g")
    assert lesson.unsafe is None


def test_what_is_said_of_answers_and_requests(tmp_path: Path) -> None:
    """An answer's label is the answer's; a request's counts where there is no answer."""
    rows: list[dict[str, object]] = [
        {"request": "Q", "response": "a. b. c.", "harmful": 1},
        {"request": "Q", "response": "a. b. c.", "harmful": 0},
        {"request": "Q", "response": "", "harmful": 0},
        {"request": None, "response": None, "harmful": 1},
    ]
    found = read_pairs(written(tmp_path / "pairs.jsonl", rows), lambda text: text.split(), longest=2)
    assert found == [
        Lesson("Q", ("a.", "b."), "answer", whole="harmful", harmful_request=True),
        Lesson("Q", ("a.", "b."), "answer", whole="harmless"),
        Lesson("Q", harmful_request=False),
    ]


def test_a_row_of_another_shape_is_named(tmp_path: Path) -> None:
    """What cannot be read is an error that names the file and the line."""
    path = written(tmp_path / "rows.jsonl", [{"id": "a"}])
    with pytest.raises(InputError, match=r"rows\.jsonl: line 1 is not a trace"):
        read_whole_traces(path)
    with pytest.raises(InputError, match=r"rows\.jsonl: line 1 is not a request"):
        read_pairs(path, str.split)
