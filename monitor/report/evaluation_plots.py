"""Figures of an evaluation: reliability, detection at few false alarms, onset errors, groups.

They are drawn like those of `plots`: one column wide, readable without colour, with their numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...classifiers.metrics import Scored, highest_risks
from ..audit.plain import plain
from .drawing import BLUE, GREY, ORANGE, Table, drawn, files, folder_for, legend, note
from .plots import reliability_figure

if TYPE_CHECKING:
    from ..scorecard import Scorecard

__all__ = ["evaluation_figures"]

_LOWEST = 1e-3
"""The lowest false-alarm rate that the ROC shows."""
_WIDEST = 5
"""The largest onset error, in units, that has a bar of its own."""
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (8, 2)), (0, (2, 2)))


def evaluation_figures(
    card: Scorecard,
    steps: Scored,
    risks: Mapping[str, NDArray[np.float64]],
    onsets: Sequence[int],
    folder: str | Path,
) -> list[Path]:
    """Draw `reliability`, `roc`, `onset-errors` and `groups`, each as .svg, .pdf, .png and .csv.

    Args:
        card: the figures of the evaluation.
        steps: the labelled steps and their probabilities.
        risks: the risk of each step, by name: those of the classifier and of the baselines.
        onsets: by how many units each detected onset lies after the true one.
        folder: where to put the figures; created if needed.

    Raises:
        MissingExtra: matplotlib is not installed.
        UsageError: the folder is a file.
    """
    place = folder_for(folder)
    place.mkdir(parents=True, exist_ok=True)
    return [
        *reliability_figure(steps, place),
        *_roc(steps, risks, place / "roc"),
        *_onsets(onsets, place / "onset-errors"),
        *_groups(card, place / "groups"),
    ]


def _roc(steps: Scored, risks: Mapping[str, NDArray[np.float64]], path: Path) -> list[Path]:
    """Draw unsafe traces found against false alarms on safe ones, on a log scale that shows low rates."""
    table: list[Mapping[str, object]] = []
    with drawn(path) as axes:
        for (name, risk), dashes in zip(risks.items(), _DASHES, strict=False):
            alarms, found = _curve(steps, risk)
            if not len(alarms):
                continue
            colour, width = (ORANGE, 1.6) if not table else (BLUE, 0.8)
            shown = np.maximum(_LOWEST, alarms)
            axes.step(shown, found, where="post", label=name, color=colour, linestyle=dashes, linewidth=width)
            table += [
                {"name": name, "false_alarms": x, "found": y}
                for x, y in zip(alarms.tolist(), found.tolist(), strict=True)
            ]
        axes.set(xscale="log", xlim=(_LOWEST, 1), ylim=(-0.02, 1.02), ylabel="Unsafe traces found")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("Safe traces with a false alarm (by the riskiest step)")
        legend(axes, "needs safe traces and unsafe ones")
    return files(path, table)


def _curve(steps: Scored, risk: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    highest = highest_risks(steps, risk)
    seen = np.isfinite(highest)
    safe = np.sort(highest[seen & (steps.trace_labels == 0)])[::-1]
    unsafe = np.sort(highest[seen & (steps.trace_labels == 2)])
    if not len(safe) or not len(unsafe):
        return np.empty(0), np.empty(0)
    found = np.append(1.0 - np.searchsorted(unsafe, safe, side="right") / len(unsafe), 1.0)
    return np.arange(len(safe) + 1) / len(safe), found


def _onsets(errors: Sequence[int], path: Path) -> list[Path]:
    places = np.arange(-_WIDEST - 1, _WIDEST + 2)
    counts = np.bincount(
        np.clip(np.array(errors, int), places[0], places[-1]) - places[0], minlength=len(places)
    )
    names = [f"< -{_WIDEST}", *(f"{place:+d}" if place else "0" for place in places[1:-1]), f"> {_WIDEST}"]
    with drawn(path) as axes:
        axes.bar(places, counts, 0.9, color=[BLUE if abs(place) <= 1 else ORANGE for place in places])
        axes.set(xticks=places, ylabel="Traces", xlabel="Onset found, in steps after the labelled one")
        axes.set_xticklabels(names, rotation=45)
        axes.locator_params(axis="y", integer=True)
        note(axes, f"n = {len(errors):,}" if errors else "no onset was found in an unsafe trace")
    return files(path, [{"error": n, "traces": c} for n, c in zip(names, counts.tolist(), strict=True)])


def _groups(card: Scorecard, path: Path) -> list[Path]:
    table: Table = [
        {
            "by": part,
            "name": name,
            "traces": group.traces,
            "steps": group.steps,
            "step_auroc": group.step_auroc,
        }
        for part, groups in card.groups.items()
        for name, group in groups.items()
    ]
    drawable = [row for row in table if row["step_auroc"] is not None][::-1]
    with drawn(path) as axes:
        for at, row in enumerate(drawable):
            marker = "o" if row["by"] == "source" else "s"
            axes.plot([float(str(row["step_auroc"]))], [at], marker, color=BLUE, markersize=3)
        axes.axvline(0.5, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
        axes.set(xlim=(0.4, 1), xlabel="Step AUROC", yticks=range(len(drawable)))
        axes.set_yticklabels(
            [f"{plain(str(row['name']), 24)} ({row['traces']})" for row in drawable], fontsize=5
        )
        note(axes, "by source (dots) and generator (squares); traces")
    return files(path, table)
