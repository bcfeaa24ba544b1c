"""What all figures share: size, style and file formats."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...errors import MissingExtra
from ..replacing import must_be_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "Table",
    "drawn",
    "files",
    "folder_for",
    "legend",
    "note",
    "require_matplotlib",
]

Table: TypeAlias = Sequence[Mapping[str, object]]

WIDTH, HEIGHT = 3.4, 2.4  # inches; a column of most journals
BLUE, ORANGE, GREY = (
    "#0072B2",
    "#D55E00",
    "#666666",
)  # of Okabe and Ito's colours, safe for the colour-blind
_ENDINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": 300, "metadata": {"Software": None}},
}
_STYLE: Final[Mapping[str, Any]] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same
    "font.size": 7,
    "text.parse_math": False,  # a name with two dollar signs is no formula, and a wrong one would end the run
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "undertow",
}


def require_matplotlib() -> None:
    """Raise `MissingExtra` if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("drawing figures", "figures") from None


def folder_for(folder: str | Path) -> Path:
    """Return the folder for figures as a path; it need not exist yet.

    Raises:
        MissingExtra: matplotlib is not installed.
        UsageError: It cannot be made or written into.
    """
    require_matplotlib()
    place = Path(folder)
    must_be_folder(place)
    return place


@contextmanager
def drawn(path: Path) -> Iterator[Axes]:
    """Yield axes to draw on; then write the figure in each format."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {**matplotlib.rcParamsDefault, **_STYLE}  # whatever the user's own settings are
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        yield figure.add_subplot()
        for ending, options in _ENDINGS.items():
            picture = BytesIO()
            figure.savefig(picture, format=ending, **options)
            path.with_suffix(f".{ending}").write_bytes(picture.getvalue())


def legend(axes: Axes, nothing: str) -> None:
    """Put the legend above the axes, or the text `nothing` if there is nothing to show."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, borderaxespad=0.2)
    else:
        note(axes, nothing)


def note(axes: Axes, text: str) -> None:
    """Write a text above the axes."""
    axes.set_title(text, loc="left", fontsize="medium", color=GREY)


def files(path: Path, table: Table) -> list[Path]:
    """Write the numbers beside the figure; return the paths of all its files."""
    page = StringIO()
    if table:
        writer = csv.DictWriter(page, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    numbers = path.with_suffix(".csv")
    numbers.write_text(page.getvalue(), encoding="utf-8")
    return [*(path.with_suffix(f".{ending}") for ending in _ENDINGS), numbers]
