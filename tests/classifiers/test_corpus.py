"""Labelled steps are read exactly, keep to the past, and are split by request."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.classifiers.contract import HISTORY, Label
from undertow.classifiers.corpus import (
    LabelledTrace,
    grouped_folds,
    label_indices,
    read_labelled,
    step_inputs,
)
from undertow.errors import InputError

ROW = {
    "id": "a",
    "source": "s",
    "generator": "g",
    "group": "q",
    "prompt": "How do I zorp?",
    "reasoning": "Hm. Zorping is bad. [redacted]",
    "units": [[0, 3], [4, 19], [20, 30]],
    "step_labels": ["NAH", "NAD"],
    "trace_labels": [2, 1],
}


def write(path: Path, *rows: Any) -> Path:
    """Write rows as JSON Lines."""
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return path


def trace(group: str, steps: int) -> LabelledTrace:
    """A trace of so many steps of two characters."""
    units = tuple((2 * n, 2 * n + 2) for n in range(steps))
    reasoning = "".join(f"{n:02}" for n in range(steps))
    labels: list[Label] = ["neutral"] * steps
    return LabelledTrace("t", "s", "g", group, "p", reasoning, units, tuple(labels), 0)


def test_reads_a_row(tmp_path: Path) -> None:
    """Texts are cut exactly and the first labelling counts."""
    (read,) = read_labelled(write(tmp_path / "x.jsonl", ROW))
    assert read.texts == ("Hm.", "Zorping is bad.", "[redacted]")
    assert read.labels == ("neutral", "aware", "harm")
    assert (read.group, read.trace_label) == ("q", 2)
    assert label_indices([read, read]).tolist() == [0, 1, 3, 0, 1, 3]


@pytest.mark.parametrize("label", [0, [0], ["0"], [0, 2], 0.0, "0.0"])
def test_a_trace_labelled_safe_is_known_to_be(tmp_path: Path, label: object) -> None:
    """A label may stand in a list or by itself; 0 is a label too."""
    (read,) = read_labelled(write(tmp_path / "x.jsonl", ROW | {"trace_labels": label}))
    assert read.trace_label == 0


@pytest.mark.parametrize("label", [None, [], [None], "", float("nan")])
def test_a_trace_may_have_no_label(tmp_path: Path, label: object) -> None:
    """Nothing said is not safe."""
    (read,) = read_labelled(write(tmp_path / "x.jsonl", ROW | {"trace_labels": label}))
    assert read.trace_label is None


def test_reads_gzip(tmp_path: Path) -> None:
    """A compressed corpus reads the same."""
    plain = write(tmp_path / "x.jsonl", ROW, ROW)
    packed = tmp_path / "x.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_labelled(packed) == read_labelled(plain)


def test_unknown_fields_are_filled(tmp_path: Path) -> None:
    """Only the reasoning, the units and the labels are needed; a trace without a group is its own."""
    row = {key: ROW[key] for key in ("reasoning", "units", "step_labels")}
    first, second = read_labelled(write(tmp_path / "x.jsonl", row, "", row | {"prompt": None}))
    assert (first.prompt, first.trace_label, second.prompt) == ("", None, "")
    assert first.group != second.group


@pytest.mark.parametrize(
    "change",
    [
        "{",
        "[1]",
        {"step_labels": ["NA"]},
        {"step_labels": ["NAX"]},
        {"step_labels": []},
        {"units": [[0, 3], [4, 19], [20, 31]]},
        {"units": [[0, 3], [4, 4], [20, 30]]},
        {"units": [[4, 19], [0, 3], [20, 30]]},
        {"units": [[0, 5], [4, 19], [20, 30]]},
        {"units": [[0, 3], [4], [20, 30]]},
        {"units": [[0, 3], [4, 19], [20, float("inf")]]},
        {"trace_labels": [float("inf")]},
        {"trace_labels": [3]},
        {"trace_labels": True},
        {"trace_labels": [0.5]},
        {"prompt": 5},
        {"reasoning": None},
        {"reasoning": ["Hm."]},
    ],
    ids=["no-json", "no-object", "too-few-labels", "unknown-letter", "no-labels", "unit-past-the-end",
         "empty-unit", "units-in-disorder", "units-that-overlap", "half-a-unit", "unit-without-end",
         "endless-label", "no-such-label", "a-truth", "half-a-label", "prompt-is-a-number", "no-reasoning",
         "reasoning-is-a-list"],
)  # fmt: skip
def test_bad_row(tmp_path: Path, change: Any) -> None:
    """A row that is no labelled trace is refused by its line, without its text."""
    row = change if isinstance(change, str) else ROW | change
    with pytest.raises(InputError, match=r"line 2 is not a labelled trace") as error:
        read_labelled(write(tmp_path / "x.jsonl", ROW, row))
    assert "Zorping" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    """A corpus that is not there is an input error that names it."""
    with pytest.raises(InputError, match=r"none\.jsonl"):
        read_labelled(tmp_path / "none.jsonl")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3 * HISTORY))
def test_history_is_the_past(steps: int) -> None:
    """A step's history is the steps right before it, oldest first, never itself or later, bounded."""
    one = trace("q", steps)
    for index, step in enumerate(step_inputs(one)):
        assert step.text == one.texts[index]
        assert step.history == one.texts[max(0, index - HISTORY) : index]
        assert (step.prompt, step.channel) == ("p", "reasoning")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=30, max_size=60), st.integers(0, 5))
def test_folds_keep_groups_together(groups: list[str], seed: int) -> None:
    """Each trace is held out exactly once, a group is never on both sides, the seed fixes the split."""
    groups = [*groups, *"abcdefghij"]
    traces = [trace(group, 1) for group in groups]
    held_out: Counter[int] = Counter()
    for train, test in grouped_folds(traces, k=5, seed=seed):
        assert not {groups[i] for i in train} & {groups[i] for i in test}
        assert len(train) + len(test) == len(traces)
        held_out.update(test.tolist())
    assert held_out == Counter(range(len(traces)))
    again = [test.tolist() for _, test in grouped_folds(traces, k=5, seed=seed)]
    assert again == [test.tolist() for _, test in grouped_folds(traces, k=5, seed=seed)]


def test_real_corpus(shared: Path) -> None:
    """The corpus reads whole, and five folds of it share no request."""
    traces = read_labelled(shared / "corpus" / "steps_train.jsonl")
    assert len(label_indices(traces)) == sum(len(step_inputs(one)) for one in traces)
    groups = np.array([one.group for one in traces])
    for train, test in grouped_folds(traces):
        assert not np.intersect1d(groups[train], groups[test]).size
