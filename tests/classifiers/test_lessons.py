"""Lessons about whole texts, from files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from undertow.classifiers.corpus import LabelledTrace
from undertow.classifiers.lessons import (
    Lesson,
    of_labelled,
    read_benign,
    read_pairs,
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
def test_benign_traces_are_neutral_throughout(tmp_path: Path, name: str) -> None:
    """Traces of other kinds are left out, whatever their source says of them."""
    row = {"prompt": None, "reasoning": "One. Two. Three.", "units": [[0, 4], [5, 9], [10, 16]], "group": "g"}
    said = [row | {"labels": labels} for labels in ({"selected_as": "benign"}, {"selected_as": "safe"}, {})]
    (found,) = read_benign(written(tmp_path / name, said), longest=2)
    assert found == Lesson("", ("One.", "Two."), whole="neutral", harmful_request=False, group="g")
    assert found.unsafe is False


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
        read_benign(path)
    with pytest.raises(InputError, match=r"rows\.jsonl: line 1 is not a request"):
        read_pairs(path, str.split)
