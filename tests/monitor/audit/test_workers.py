"""Several processes give what one gives, and one that dies takes nothing with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from undertow.classifiers.contract import Probabilities, StepInput
from undertow.errors import UndertowError, UsageError
from undertow.monitor.audit import audit, workers
from undertow.monitor.audit.workers import Recipe, Workers
from undertow.monitor.trace import Trace
from undertow.testing import ScriptedClassifier, scripted_monitor

Jsonl = Callable[..., Path]

ROWS: list[object] = [
    {"id": f"t{n}", "prompt": "P", "reasoning": f"Number {n}. [drift] So. [nan] Eh.", "note": n}
    for n in range(300)
]


class Deadly(ScriptedClassifier):
    """Kills its process when it reads a word, as often as its folder has no more marks of it."""

    def __init__(self, marks: Path, deaths: int) -> None:
        self.marks, self.deaths = marks, deaths

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the rows, or die."""
        died = len(list(self.marks.iterdir()))
        if died < self.deaths and any("Number 170." in step.text for step in steps):
            (self.marks / str(died)).touch()
            os._exit(9)
        return super().predict_proba(steps)


def deadly(tmp_path: Path, deaths: int) -> Deadly:
    """Return a classifier that dies so often."""
    marks = tmp_path / "marks"
    marks.mkdir()
    return Deadly(marks, deaths)


def test_workers_change_nothing(jsonl: Jsonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers with a cache write the same bytes as none; one that dies is replaced, nothing is lost."""
    monkeypatch.setattr(workers, "_CHUNK", 2000)
    path, alone, many = jsonl(*ROWS, b"{"), tmp_path / "alone.jsonl", tmp_path / "many.jsonl"
    expected = audit(path, monitor=scripted_monitor(), out=alone)
    monitor = scripted_monitor(deadly(tmp_path, 1))
    seen: list[object] = []

    def each(record: object, _: object) -> None:
        seen.append(record.metadata.get("note") if isinstance(record, Trace) else None)

    found = audit(path, monitor=monitor, out=many, workers=2, cache=tmp_path / "cache", each=each)
    assert found == expected
    assert many.read_bytes() == alone.read_bytes()
    assert seen == [*range(300), None]
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_worker_that_always_dies_ends_the_run(tmp_path: Path) -> None:
    """Twice on the same traces is enough, and the error says what to try."""
    traces = [Trace(reasoning="Number 170.")]
    with (
        Workers(Recipe.of(scripted_monitor(deadly(tmp_path, 9))), 1) as pool,
        pytest.raises(UndertowError, match="fewer --workers"),
    ):
        list(pool.judge(traces))


def test_a_classifier_that_cannot_travel(jsonl: Jsonl) -> None:
    """What cannot be handed to another process is refused before any work, with what to do."""

    class Here(ScriptedClassifier):
        pass

    with pytest.raises(UsageError, match="its name or folder, or leave workers out"):
        audit(jsonl(*ROWS), monitor=scripted_monitor(Here()), workers=1)


def test_there_is_at_least_one(jsonl: Jsonl) -> None:
    """No workers judge nothing."""
    with pytest.raises(UsageError, match="workers must be at least 1"):
        audit(jsonl(*ROWS), monitor=scripted_monitor(), workers=0)
