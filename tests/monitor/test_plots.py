"""The figures: their numbers are those of the verdicts, and they are the same each time."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from undertow.classifiers.metrics import Scored
from undertow.errors import MissingExtra, UsageError
from undertow.monitor.intervals import wilson
from undertow.monitor.report.plots import Plots, reliability_figure
from undertow.monitor.trace import Trace
from undertow.testing import scripted_monitor

NAMES = ("drift-curves", "onsets", "quadrants")
CALM = "[neutral] one. [neutral] two. [neutral] three. [neutral] four."
LATE = "[neutral] one. [neutral] two. [drift] three. [harm] four."
RIGHT_AWAY = "[drift] one. [neutral] two. [neutral] three. [neutral] four."
TRACES = [
    *(Trace(reasoning=CALM, answer="[neutral] yes.") for _ in range(3)),
    *(Trace(reasoning=LATE, answer="[aware] no.") for _ in range(2)),
    Trace(reasoning=RIGHT_AWAY, answer="[harm] yes."),
    Trace(answer="[neutral] yes."),
    Trace(reasoning="[nan] lost."),
]


def plots(traces: list[Trace], folder: Path) -> list[Path]:
    """Draw the figures of these traces; return the files."""
    found = Plots(folder)
    for verdict in scripted_monitor().judge(traces):
        found.add(verdict)
    return found.write()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of all figures of `TRACES`, in a folder that was not there."""
    return plots(TRACES, tmp_path_factory.mktemp("figures") / "deep" / "down")


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_numbers_are_those_of_the_verdicts(drawn: list[Path]) -> None:
    """Curves, onsets and quadrants are counted once a trace, and those not judged have no place in them."""
    folder = drawn[0].parent
    curves = table(folder / "drift-curves.csv")
    last = [row for row in curves if float(row["position"]) == 0.975]
    assert [(row["outcome"], row["traces"], row["median"]) for row in last] == [
        ("flagged", "3", "0.98"),
        ("not flagged", "3", "0.02"),
    ]
    assert all(float(r["lower_quartile"]) <= float(r["median"]) <= float(r["upper_quartile"]) for r in curves)
    onsets = table(folder / "onsets.csv")
    assert [int(row["traces"]) for row in onsets] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 0]
    assert sum(float(row["share"]) for row in onsets) == pytest.approx(1)
    quadrants = table(folder / "quadrants.csv")
    assert [(r["reasoning"], r["answer"], r["traces"]) for r in quadrants] == [
        ("safe", "safe", "3"), ("safe", "unsafe", "0"), ("unsafe", "safe", "2"), ("unsafe", "unsafe", "1"),
    ]  # fmt: skip
    assert (float(quadrants[0]["low"]), float(quadrants[0]["high"])) == pytest.approx(wilson(3, 6))


def test_every_figure_in_every_form(drawn: list[Path]) -> None:
    """Each figure is a vector picture, one for LaTeX, a bitmap and a table, a column wide."""
    endings = ("svg", "pdf", "png", "csv")
    assert [path.name for path in drawn] == [f"{name}.{end}" for name in NAMES for end in endings]
    for path in drawn:
        start = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}.get(path.suffix, b"")
        assert path.read_bytes().startswith(start)
        if path.suffix == ".svg":
            assert ElementTree.parse(path).getroot().get("width") == "244.8pt"


def test_the_same_verdicts_give_the_same_files(drawn: list[Path], tmp_path: Path) -> None:
    """No date and no random name is in a figure, so that a change in one is a change in the numbers."""
    again = plots(TRACES, tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in drawn]


def test_a_figure_of_nothing_replaces_an_older_one(tmp_path: Path) -> None:
    """Where there is nothing to show, no older figure is left standing to be taken for the new one."""
    for name in NAMES:
        (tmp_path / f"{name}.png").write_bytes(b"older")
    written = plots([], tmp_path)
    assert all(path.read_bytes() != b"older" for path in written)
    assert {row["traces"] for row in table(tmp_path / "onsets.csv")} == {"0"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Figures are not put where a file stands."""
    (tmp_path / "figures").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        Plots(tmp_path / "figures")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing is said before anything is counted, with the command that brings it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'undertow\[figures\]'"):
        Plots(tmp_path)
    with pytest.raises(MissingExtra, match="figures"):
        reliability_figure(scored(np.array([0.5]), np.array([0])), tmp_path)


def scored(
    risk: np.ndarray[tuple[int], np.dtype[np.float64]], labels: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> Scored:
    """Return labelled steps of these risks, all of one trace."""
    rows = np.stack([1 - risk, 0 * risk, risk, 0 * risk], axis=1)
    return Scored(labels, rows, np.zeros(len(labels), dtype=np.int64), np.array([2]))


def test_reliability_bins_hold_equally_many(tmp_path: Path) -> None:
    """Steps are sorted by risk into bins of one size, and each bin has its share and interval."""
    risk = np.linspace(0, 1, 151)
    labels = np.where(np.arange(151) % 2, 2, 0).astype(np.int64)
    risk[-1] = np.nan
    written = reliability_figure(scored(risk, labels), tmp_path)
    rows = table(tmp_path / "reliability.csv")
    assert {path.suffix for path in written} == {".svg", ".pdf", ".png", ".csv"}
    assert [row["steps"] for row in rows] == ["10"] * 15
    assert {float(row["unsafe"]) for row in rows} == {0.5}
    assert (float(rows[0]["low"]), float(rows[0]["high"])) == pytest.approx(wilson(5, 10))
    assert [float(row["mean_risk"]) for row in rows] == sorted(float(row["mean_risk"]) for row in rows)


def test_reliability_of_equal_risks_does_not_depend_on_their_order(tmp_path: Path) -> None:
    """Steps of one risk are unsafe equally often in every bin, even if the unsafe ones come last."""
    labels = np.repeat(np.array([0, 2], np.int64), [90, 60])
    reliability_figure(scored(np.full(150, 0.4), labels), tmp_path)
    assert {round(float(row["unsafe"]), 9) for row in table(tmp_path / "reliability.csv")} == {0.4}


def test_nothing_labelled_makes_an_empty_reliability(tmp_path: Path) -> None:
    """Without a judged step there is a diagonal and no row."""
    reliability_figure(scored(np.array([np.nan]), np.array([0])), tmp_path)
    assert table(tmp_path / "reliability.csv") == []
