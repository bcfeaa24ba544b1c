"""Readers that other packages bring: asked first, and unable to end an audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from undertow.cli.app import app
from undertow.errors import UndertowError, UsageError
from undertow.monitor.audit import read, readers
from undertow.monitor.audit.readers import ENTRY_POINTS, JsonObject
from undertow.monitor.trace import Origin, Trace, Unreadable

Jsonl = Callable[..., Path]


@dataclass(frozen=True)
class Zorp:
    """Reads rows that say `zorp`."""

    name: str = "zorp"
    description: str = "rows that say zorp"
    fields: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"reasoning": ("zorp",)})

    def matches(self, row: JsonObject) -> bool:
        """Return whether it says so; an array instead, as the row asks."""
        return np.ones(2) if row["zorp"] == "array" else len(str(row["zorp"])) > 0  # type: ignore[return-value]

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield one trace, or none, or fail, as the row asks."""
        if row["zorp"] == "nothing":
            return
        if row["zorp"] == "dict":
            yield dict(row)  # type: ignore[misc]
        if row["zorp"] == "half":
            yield Trace(id="z", reasoning="half \ud83d", origin=origin)
        yield Trace(id="z", reasoning=f"R{1 // len(str(row['zorp']).replace('fail', ''))}", origin=origin)


class Taken(Zorp):
    """Has a name that is taken."""

    def __init__(self) -> None:
        super().__init__(name="fields")


@pytest.fixture(autouse=True)
def installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pretend that a package with these readers is installed."""
    values = getattr(request, "param", ["Zorp"])
    points = [EntryPoint(value.lower(), f"{__name__}:{value}", ENTRY_POINTS) for value in values]
    monkeypatch.setattr(EntryPoint, "load", lambda point: {**globals(), "dict": dict}[point.attr])
    monkeypatch.setattr(readers, "entry_points", lambda group: points)
    readers.all_readers.cache_clear()
    yield
    readers.all_readers.cache_clear()


def test_it_is_asked_first(jsonl: Jsonl) -> None:
    """A row that both know is read by the other package's reader, and its format is listed."""
    (found,) = read(jsonl({"zorp": "x", "reasoning": "R"}))
    assert (found.id, found.origin.format) == ("z", "zorp")
    assert "rows that say zorp" in CliRunner().invoke(app, ["formats"]).stdout


@pytest.mark.parametrize(("row", "error"), [("dict", "TypeError"), ("half", "UnicodeEncodeError")])
def test_what_is_no_sound_record_is_its_fault(jsonl: Jsonl, row: str, error: str) -> None:
    """What it gives instead of a record, or with half a character, ends no audit."""
    wrong, after = read(jsonl({"zorp": row}, {"zorp": "x"}))
    assert isinstance(wrong, Unreadable) and isinstance(after, Trace)
    assert wrong.problem.detail == f"the reader zorp failed ({error})"


def test_an_answer_that_is_neither_yes_nor_no(jsonl: Jsonl) -> None:
    """A reader that trips as it is asked about a row does not know the row."""
    (found,) = read(jsonl({"zorp": "array", "reasoning": "R"}))
    assert found.origin.format == "fields"


def test_what_goes_wrong_in_it_is_a_record(jsonl: Jsonl) -> None:
    """A row on which it fails or of which it makes nothing is a record; one it trips over is not its own."""
    rows = [{"zorp": "x"}, {"zorp": "fail"}, {"zorp": "nothing"}, {"reasoning": "R"}]
    first, failed, nothing, ours = read(jsonl(*rows))
    assert isinstance(failed, Unreadable) and isinstance(nothing, Unreadable)
    assert failed.problem.detail == "the reader zorp failed (ZeroDivisionError)"
    assert nothing.problem.reason == "no_text"
    assert isinstance(first, Trace) and isinstance(ours, Trace)


@pytest.mark.parametrize(
    ("installed", "error", "message"),
    [
        (["Missing"], UndertowError, "cannot load the reader missing of"),
        (["dict"], UndertowError, "is not a reader"),
        (["Taken"], UsageError, "two readers are named fields"),
    ],
    ids=["missing", "no reader", "name is taken"],
    indirect=["installed"],
)
def test_what_is_no_reader_is_refused(jsonl: Jsonl, error: type[Exception], message: str) -> None:
    """A package that brings no reader is named before anything is read."""
    with pytest.raises(error, match=message):
        read(jsonl({"reasoning": "R"}))
