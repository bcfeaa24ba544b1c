"""The figures, in the report's colours, as SVG and PNG; the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plot

from .estimate import Estimate
from .page import Figure
from .trajectory import Survival

__all__ = ["bars", "forest", "line", "panels", "survival_curves"]

INK, FAINT, RULE = "#22262b", "#68707a", "#dedbd3"
COLOURS = ("#c8432b", "#1f5f8b", "#3fa39b", "#eeb03c", "#68707a")
DASHES = ("-", (0, (5, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)))
"""One for each line, so that a line under another one can be seen."""

_STYLE: dict[str, Any] = {
    "svg.hashsalt": "undertow",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "figure.facecolor": "#ffffff",
    "legend.frameon": False,
}


@contextmanager
def _drawing(size: tuple[float, float] = (6.4, 3.0), columns: int = 1) -> Iterator[Plot]:
    """Open a plot to draw on, in our style."""
    with rc_context(_STYLE):  # type: ignore[arg-type]
        plot = Plot(figsize=size, layout="constrained")
        FigureCanvasAgg(plot)
        plot.subplots(1, columns)
        yield plot


def _drawn(name: str, alt: str, plot: Plot) -> Figure:
    """Return a plot as a figure."""
    svg, png = BytesIO(), BytesIO()
    plot.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    plot.savefig(png, format="png", dpi=150, metadata={"Software": None})
    return Figure(name, alt, svg.getvalue(), png.getvalue())


def _errors(estimates: Sequence[Estimate]) -> list[list[float]]:
    return [
        [max(0.0, e.value - e.low) for e in estimates],
        [max(0.0, e.high - e.value) for e in estimates],
    ]


def line(name: str, alt: str, estimates: Sequence[Estimate], *, x: str, y: str) -> Figure:
    """Draw estimates for equal parts of a length, with their intervals as a band."""
    with _drawing() as plot:
        axes, n = plot.axes[0], len(estimates)
        middle = [100 * (i + 0.5) / n for i in range(n)]
        low, high = [e.low for e in estimates], [e.high for e in estimates]
        axes.fill_between(middle, low, high, color=COLOURS[0], alpha=0.18, linewidth=0)
        axes.plot(middle, [e.value for e in estimates], color=COLOURS[0], marker="o", markersize=4)
        axes.set(xlabel=x, ylabel=y, xlim=(0, 100))
        axes.set_ylim(bottom=0)
        return _drawn(name, alt, plot)


def forest(name: str, alt: str, rows: Sequence[tuple[str, Estimate]], *, x: str, margin: float) -> Figure:
    """Draw estimates one below the other, with the margin shaded around 0."""
    known = [(label, e) for label, e in rows if e.known]
    with _drawing((6.4, 0.8 + 0.32 * max(1, len(known)))) as plot:
        axes = plot.axes[0]
        axes.axvspan(-margin, margin, color=RULE, alpha=0.6, linewidth=0)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        places = list(range(len(known)))[::-1]
        axes.errorbar(
            [e.value for _, e in known],
            places,
            xerr=_errors([e for _, e in known]),
            fmt="o",
            color=COLOURS[0],
            ecolor=INK,
            elinewidth=1.2,
            markersize=5,
        )
        axes.set_yticks(places, [label for label, _ in known])
        axes.set(xlabel=x, ylim=(-0.6, max(0.6, len(known) - 0.4)))
        return _drawn(name, alt, plot)


def panels(
    name: str,
    alt: str,
    series: Sequence[tuple[str, str, Sequence[Estimate]]],
    *,
    ticks: Sequence[str],
    x: str,
) -> Figure:
    """Draw shares over the same few positions, one panel per measure.

    Args:
        name: The files' name.
        alt: A description of the figure in words.
        series: For each line the measure, the label, and the estimates.
        ticks: The labels of the positions.
        x: The label of the x axis.
    """
    measures = list(dict.fromkeys(measure for measure, _, _ in series))
    with _drawing((3.2 * len(measures), 3.0), len(measures)) as plot:
        for axes, measure in zip(plot.axes, measures, strict=True):
            lines = [(label, found) for kind, label, found in series if kind == measure]
            for number, (label, found) in enumerate(lines):
                places = [i + 0.06 * (number - (len(lines) - 1) / 2) for i in range(len(ticks))]
                axes.errorbar(
                    places,
                    [100 * e.value for e in found],
                    yerr=[[100 * error for error in errors] for errors in _errors(found)],
                    color=COLOURS[number % len(COLOURS)],
                    linestyle=DASHES[number % len(DASHES)],
                    marker="o",
                    markersize=4,
                    elinewidth=1,
                    label=label,
                )
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set(title=measure, xlabel=x, ylim=(-3, 103))
        plot.axes[0].set_ylabel("%")
        plot.axes[0].legend()
        return _drawn(name, alt, plot)


def bars(name: str, alt: str, shares: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> Figure:
    """Draw each arm's shares, stacked to 100 %."""
    colours = {"both": COLOURS[0], "leak": COLOURS[3], "escape": COLOURS[1], "none": "#c3ccd6"}
    with _drawing((6.4, 1.0 + 0.4 * len(shares))) as plot:
        axes = plot.axes[0]
        for row, (_, parts) in enumerate(shares):
            left = 0.0
            for part, value in parts:
                label = part if row == 0 else None
                axes.barh(
                    len(shares) - row, 100 * value, left=left, color=colours[part], label=label, height=0.6
                )
                left += 100 * value
        axes.set_yticks([len(shares) - row for row in range(len(shares))], [arm for arm, _ in shares])
        axes.set(xlabel="% of generations", xlim=(0, 100))
        axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        return _drawn(name, alt, plot)


def survival_curves(name: str, alt: str, arms: Sequence[tuple[str, Survival]]) -> Figure:
    """Draw the share of reasonings that have not drifted after a number of steps."""
    with _drawing() as plot:
        axes = plot.axes[0]
        styles = zip((*COLOURS, *COLOURS), (*DASHES, *DASHES, *DASHES), strict=False)
        for (label, curve), (colour, dashes) in zip(arms, styles, strict=False):
            x = [0, *curve.steps, curve.longest]  # the curve is constant after the last onset
            middle, low, high = (
                [1.0, *(getattr(e, end) for e in curve.share)] for end in ("value", "low", "high")
            )
            for ends in (middle, low, high):
                ends.append(ends[-1])
            axes.step(x, middle, where="post", color=colour, linestyle=dashes, label=label)
            axes.fill_between(x, low, high, step="post", color=colour, alpha=0.12, linewidth=0)
        axes.set(xlabel="steps of the reasoning", ylabel="not drifted", ylim=(0, 1.02))
        axes.set_xlim(left=0)
        if len(arms) > 1:
            axes.legend()
        return _drawn(name, alt, plot)
