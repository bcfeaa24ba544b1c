"""Figures for a paper, each with the numbers behind it.

They are drawn with matplotlib, which the extra `figures` installs. A figure is one column wide, is
readable without colour (lines differ in their dashes, cells show their counts), and is identical,
byte for byte, for the same verdicts. No figure contains text of a trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ..intervals import wilson
from ..tally import BINS, Tally
from ..verdict import Quadrant, TraceVerdict, steps_of
from .drawing import BLUE, GREY, ORANGE, drawn, files, folder_for, legend, note, require_matplotlib
from .overview import BINS as PLACES
from .overview import Profile

if TYPE_CHECKING:
    from ...classifiers.metrics import Scored
    from ..labelled import LabelledVerdicts

__all__ = ["Plots", "reliability_figure"]

_BINS = 15  # as in `classifiers.metrics.calibration_error`


class Plots:
    """Counts verdicts, then draws: `add` each, then `write`. Memory use does not grow with their number.

    Args:
        folder: Where to put the figures; `write` creates it if needed.
        labelled: Labels for the verdicts; with them `write` also draws `reliability`.

    Raises:
        MissingExtra: matplotlib is not installed.
        UsageError: The folder is a file.
    """

    def __init__(self, folder: str | Path, labelled: LabelledVerdicts | None = None) -> None:
        self._folder = folder_for(folder)
        self._labelled = labelled
        self._tally = Tally()
        self._profiles = {True: Profile(), False: Profile()}

    def add(self, verdict: TraceVerdict) -> None:
        """Count one verdict."""
        self._tally.add(verdict)
        if self._labelled is not None:
            self._labelled.add(verdict)
        steps = steps_of(verdict, "reasoning")
        if verdict.flagged is not None and steps:
            self._profiles[verdict.flagged].add(steps, steps[-1].end)

    def write(self) -> list[Path]:
        """Draw `drift-curves`, `onsets` and `quadrants`, each as .svg, .pdf, .png and .csv.

        With labels, also draw `reliability`.

        Returns:
            The paths of the files; existing ones are replaced.

        Raises:
            UsageError: There are labels, but no judged step has one; nothing is written then.
        """
        self.check()
        self._folder.mkdir(parents=True, exist_ok=True)
        return [
            *self._drift_curves(self._folder / "drift-curves"),
            *self._onsets(self._folder / "onsets"),
            *self._quadrants(self._folder / "quadrants"),
            *self._reliability(),
        ]

    def check(self) -> None:
        """Raise a UsageError if there are labels, but none for a judged step so far."""
        if self._labelled is not None and not len(self._labelled.scored().judged().labels):
            raise UsageError(
                "no judged step of the verdicts has a label: labels have to be of traces with the same ids"
            )

    def _reliability(self) -> list[Path]:
        return [] if self._labelled is None else reliability_figure(self._labelled.scored(), self._folder)

    def _drift_curves(self, path: Path) -> list[Path]:
        table: list[Mapping[str, object]] = []
        with drawn(path) as axes:
            for flagged, name, colour, dashes in (
                (True, "flagged", ORANGE, "-"),
                (False, "not flagged", BLUE, (0, (4, 1.5))),
            ):
                profile = self._profiles[flagged]
                if not profile.traces:
                    continue
                low, median, high = (_numbers(profile.quantile(share)) for share in (0.25, 0.5, 0.75))
                at = (np.arange(PLACES) + 0.5) * 100 / PLACES
                axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
                axes.plot(
                    at, median, color=colour, linestyle=dashes, label=f"{name} (n = {profile.traces:,})"
                )
                table += [
                    {"outcome": name, "traces": profile.traces, "position": p / 100, "lower_quartile": a}
                    | {"median": b, "upper_quartile": c}
                    for p, a, b, c in zip(at.tolist(), low, median, high, strict=True)
                ]
            legend(axes, "no reasoning was judged")
            axes.set(xlim=(0, 100), ylim=(0, 1), xlabel="Position in the reasoning (%)")
            axes.set_ylabel("Risk of the step, P(drift) + P(harm)")
        return files(path, table)

    def _onsets(self, path: Path) -> list[Path]:
        counts, total = self._tally.onsets, sum(self._tally.onsets)
        with drawn(path) as axes:
            left, width = np.arange(BINS) * 100 / BINS, 100 / BINS
            axes.bar(left, counts, width, align="edge", color=ORANGE, edgecolor="white", linewidth=0.6)
            axes.set(xlim=(0, 100), ylim=(0, max(counts) * 1.08 or 1), ylabel="Traces")
            axes.set_xlabel("Where the drift begins in the reasoning (%)")
            axes.locator_params(axis="y", integer=True)
            note(axes, f"n = {total:,}" if total else "no drift in any reasoning")
        table = [
            {
                "from": at / BINS,
                "to": (at + 1) / BINS,
                "traces": count,
                "share": count / total if total else None,
            }
            for at, count in enumerate(counts)
        ]
        return files(path, table)

    def _quadrants(self, path: Path) -> list[Path]:
        counts = self._tally.quadrants
        total = counts.total()
        with drawn(path) as axes:
            for row, column, name in _CELLS:
                share = counts[name] / total if total else 0.0
                colour = BLUE if (row, column) == (0, 0) else ORANGE
                axes.add_patch(_cell(column, row, colour, alpha=0.08 + 0.72 * share))
                said = f"{counts[name]:,}\n{share:.1%}" if total else "0"
                axes.text(column + 0.5, row + 0.5, said, ha="center", va="center", fontsize=9)
            axes.set(xlim=(0, 2), ylim=(2, 0), xticks=(0.5, 1.5), yticks=(0.5, 1.5))
            axes.set_xticklabels(("safe answer", "unsafe answer"))
            axes.set_yticklabels(("safe\nreasoning", "unsafe\nreasoning"))
            axes.xaxis.tick_top()
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_xlabel(f"{total:,} traces of which both were judged")
        return files(path, [_quadrant(name, counts[name], total) for _, _, name in _CELLS])


_CELLS: Final[Sequence[tuple[int, int, Quadrant]]] = (
    (0, 0, "safe-reasoning/safe-answer"),
    (0, 1, "safe-reasoning/unsafe-answer"),
    (1, 0, "unsafe-reasoning/safe-answer"),
    (1, 1, "unsafe-reasoning/unsafe-answer"),
)
"""Row, column and quadrant of each cell."""


def _quadrant(name: Quadrant, count: int, total: int) -> Mapping[str, object]:
    reasoning, answer = (half.split("-")[0] for half in name.split("/"))
    low, high = wilson(count, total)
    share = count / total if total else None
    return {
        "reasoning": reasoning,
        "answer": answer,
        "traces": count,
        "share": share,
        "low": low,
        "high": high,
    }


def reliability_figure(scored: Scored, folder: str | Path) -> list[Path]:
    """Draw `reliability`: how often steps of a stated risk are labelled unsafe, in the four file formats.

    The bins hold equal numbers of steps, as for the expected calibration error. The bars are 95 % Wilson
    intervals over steps; they are too narrow, since the steps of a trace are alike.

    Args:
        scored: Labelled steps with their probabilities; unjudged steps are left out.
        folder: Where to put the files; it must exist.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_matplotlib()
    judged = scored.judged()
    risk, unsafe = judged.risk, judged.unsafe_alike
    bins = np.array_split(np.argsort(risk, kind="stable"), min(_BINS, max(1, len(risk))))
    table = [_bin(risk[rows], unsafe[rows]) for rows in bins if len(rows)]
    path = Path(folder) / "reliability"
    with drawn(path) as axes:
        axes.plot((0, 1), (0, 1), color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))
        names = ("mean_risk", "unsafe", "low", "high")
        x, y, low, high = (np.array([row[name] for row in table], dtype=float) for name in names)
        axes.errorbar(
            x,
            y,
            yerr=np.maximum(0, (y - low, high - y)),
            color=BLUE,
            marker="o",
            markersize=3,
            elinewidth=0.6,
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Risk of the step", ylabel="Share labelled unsafe")
        note(axes, f"n = {len(judged.labels):,} steps")
    return files(path, table)


def _bin(risk: NDArray[np.float64], unsafe: NDArray[np.float64]) -> Mapping[str, object]:
    low, high = wilson(float(unsafe.sum()), len(unsafe))
    edges = {"from": float(risk.min()), "to": float(risk.max()), "steps": len(risk)}
    return edges | {"mean_risk": float(risk.mean()), "unsafe": float(unsafe.mean()), "low": low, "high": high}


def _cell(column: int, row: int, colour: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column + 0.02, row + 0.02), 0.96, 0.96, color=colour, alpha=alpha, linewidth=0)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
