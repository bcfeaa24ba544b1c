"""What a classifier says of traces that it was not trained on: fold by fold, kept, so that a run resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..classifiers.contract import StepClassifier
from ..classifiers.corpus import LabelledTrace, grouped_folds
from .evaluation import Followed, follow
from .replacing import replacing

__all__ = ["Report", "held_out", "read_followed", "write_followed"]

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it lies behind, and of how much."""

Fit = Callable[[Sequence[LabelledTrace], Path, Report], StepClassifier]
"""Trains on some traces; may keep what it made in the folder that it is given."""


def held_out(
    traces: Sequence[LabelledTrace],
    fit: Fit,
    folder: Path,
    folds: int,
    *,
    report: Report = lambda *_: None,
    only: Sequence[int] = (),
) -> list[tuple[int, Followed]]:
    """Follow every trace by a classifier trained on other groups.

    Args:
        traces: labelled traces, each with at least one step.
        fit: how to train.
        folder: where what was found is kept; a fold that is there already is read, not made again.
        folds: how many.
        report: told how far it is.
        only: the folds to make and return, counted from 0; all of them unless some are named.

    Returns:
        (fold, followed) for each trace, fold by fold. A step of an answer that cannot be judged, such as an
        emoji alone, is left out, as a monitor does.
    """
    found: list[tuple[int, Followed]] = []
    for number, (train, test) in enumerate(grouped_folds(traces, folds)):
        if only and number not in only:
            continue
        path = folder / f"fold{number}.jsonl"
        if not path.is_file():
            what = f"fold {number + 1} of {folds}"

            def say(stage: str, done: int, total: int, what: str = what) -> None:
                report(f"{what}: {stage}", done, total)

            classifier = fit([traces[i] for i in train], folder / f"fold{number}", say)
            write_followed(path, classifier, traces, test.tolist(), say)
        found += [(number, case) for case in read_followed(path, traces)]
    return found


def write_followed(
    path: Path,
    classifier: StepClassifier,
    traces: Sequence[LabelledTrace],
    which: Sequence[int],
    report: Report = lambda *_: None,
) -> None:
    """Follow the traces of these numbers and write what was found as JSON Lines; the file appears whole."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for number, index in enumerate(which, 1):
            case = follow(classifier, traces[index], lenient=True)
            steps = {channel: np.round(rows, 6).tolist() for channel, rows in case.steps.items()}
            row = {"trace": index, "units": np.round(case.units, 6).tolist(), "starts": case.starts}
            file.write(json.dumps(row | {"steps": steps}) + "\n")
            report("judging", number, len(which))


def read_followed(path: Path, traces: Sequence[LabelledTrace]) -> list[Followed]:
    """Read again what was written of some of these traces."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        steps = {channel: np.array(rows, float).reshape(-1, 4) for channel, rows in row["steps"].items()}
        units = np.array(row["units"], float).reshape(-1, 4)
        found.append(Followed(traces[row["trace"]], units, tuple(row["starts"]), steps))
    return found
