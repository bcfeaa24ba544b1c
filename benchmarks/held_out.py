"""What a classifier said of traces that it was not trained on: made once, kept as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from undertow.classifiers.contract import StepClassifier
from undertow.classifiers.corpus import LabelledTrace, grouped_folds
from undertow.monitor.evaluation import Followed, follow
from undertow.monitor.replacing import replacing

FOLDS = 5


def held_out(
    traces: Sequence[LabelledTrace],
    fit: Callable[[Sequence[LabelledTrace], Path], StepClassifier],
    folder: Path,
    only: Sequence[int] = (),
) -> list[tuple[int, Followed]]:
    """Follow every trace by a classifier trained on other groups.

    Returns:
        (fold, followed) for each trace, fold by fold; of `only` these folds, where some are named. A
        fold that is already in the folder is read. A step of an answer that cannot be judged, such as an
        emoji alone, is left out, as a monitor does.
    """
    found = []
    for number, (train, test) in enumerate(grouped_folds(traces, FOLDS)):
        if only and number not in only:
            continue
        path = folder / f"fold{number}.jsonl"
        if not path.is_file():
            classifier = fit([traces[i] for i in train], folder / f"fold{number}")
            write_followed(
                path,
                [
                    follow(classifier, traces[i], lenient=True)
                    for i in track(test, f"following fold {number}")
                ],
            )
        found += [(number, case) for case in read_followed(path, {trace.id: trace for trace in traces})]
    return found


def write_followed(path: Path, cases: Sequence[Followed]) -> None:
    """Write followed traces as JSON Lines; the file appears whole."""
    rows = [
        {
            "id": case.trace.id,
            "units": np.round(case.units, 6).tolist(),
            "starts": case.starts,
            "steps": {channel: np.round(rows, 6).tolist() for channel, rows in case.steps.items()},
        }
        for case in cases
    ]
    with replacing(path) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_followed(path: Path, traces: dict[str, LabelledTrace]) -> list[Followed]:
    """Read them again; `traces` by their ids."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        steps = {channel: np.array(rows).reshape(-1, 4) for channel, rows in row["steps"].items()}
        found.append(Followed(traces[row["id"]], np.array(row["units"]), tuple(row["starts"]), steps))
    return found
