"""Verdicts come back from every form as they went in, and the forms answer questions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from undertow.errors import InputError, MissingExtra
from undertow.monitor.audit import audit
from undertow.monitor.audit.verdicts import read_verdicts
from undertow.monitor.audit.writers import WRITERS, parquet, writer_for
from undertow.monitor.trace import Origin, Trace
from undertow.monitor.verdict import TraceVerdict
from undertow.testing import scripted_monitor

Jsonl = Callable[..., Path]

STEPS = st.lists(
    st.sampled_from(["[neutral] Well.", "[drift] So.", "[harm] Now.", "[nan] Eh.", "[aware] No."]), max_size=9
).map(" ".join)
TRACES = st.builds(
    Trace,
    id=st.text(max_size=5).map(lambda text: text.encode("utf-8", "replace").decode()),
    reasoning=st.none() | STEPS,
    answer=st.none() | STEPS,
    model=st.none() | st.just("m"),
    truncated=st.booleans(),
    origin=st.builds(Origin, path=st.none() | st.just("a/b.jsonl"), row=st.none() | st.integers(0, 2**40)),
)

every_form = pytest.mark.parametrize("ending", WRITERS)


@every_form
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(traces=st.lists(TRACES, min_size=1, max_size=6))
def test_verdicts_come_back(tmp_path: Path, ending: str, traces: list[Trace]) -> None:
    """Whatever a verdict holds, what is read is what was written, in order."""
    verdicts = list(scripted_monitor().judge(traces))
    path = tmp_path / f"v{ending}"
    path.unlink(missing_ok=True)
    writer_for(path)((verdict.model_dump_json(by_alias=True).encode() for verdict in verdicts), path)
    assert list(read_verdicts(path)) == verdicts


def rows() -> list[object]:
    """Return rows of which some are flagged, some cannot be judged, and two have one id."""
    drift = {"reasoning": "One thing first. Let me zorp the thing.", "answer": "No."}
    return [{"id": "a", **drift}, {"id": "a", "reasoning": "Fine."}, b"{", {"id": "c", **drift}]


def test_a_database_answers_questions(jsonl: Jsonl, monitor: Any, tmp_path: Path) -> None:
    """Verdicts and steps can be asked about in SQL; equal ids are no obstacle."""
    out = tmp_path / "v.sqlite"
    audit(jsonl(*rows()), monitor=monitor, out=out)
    with sqlite3.connect(out) as base:
        ask = base.execute
        assert ask("SELECT number, id, flagged, not_assessed_reason FROM verdicts").fetchall() == [
            (0, "a", 1, None),
            (1, "a", 0, None),
            (2, "t:2", None, "unreadable_row"),
            (3, "c", 1, None),
        ]
        query = "SELECT label, count(*) FROM steps JOIN verdicts USING (number) WHERE flagged GROUP BY label"
        assert ask(query).fetchall() == [("drift", 2), ("neutral", 4)]
        assert ask("SELECT onset_step, origin_row FROM verdicts WHERE flagged").fetchall() == [(1, 0), (1, 3)]
    base.close()


def test_the_columns_of_parquet_are_typed(jsonl: Jsonl, monitor: Any, tmp_path: Path) -> None:
    """Numbers are numbers, what is not known is null, and steps are nested in their verdict."""
    arrow = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "v.parquet"
    audit(jsonl(*rows()), monitor=monitor, out=out)
    table = arrow.read_table(out)
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["id"], types["risk"], types["flagged"]) == ("string", "double", "bool")
    assert types["steps"].startswith("list<element: struct<index: int64, channel: string, start: int64")
    assert table["flagged"].to_pylist() == [True, False, None, True]
    assert [step["label"] for step in table["steps"][0].as_py()] == ["neutral", "drift", "neutral"]
    assert table.schema.metadata[b"undertow.schema"] == b"undertow.verdict/1"


@pytest.mark.parametrize("ending", [".parquet", ".sqlite"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, ending: str) -> None:
    """A table of other columns, and a file that is cut off, are no verdicts, and say so."""
    path = tmp_path / f"v{ending}"
    if ending == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(arrow.table({"a": [1]}), path)
        start = b"PAR1"
    else:
        sqlite3.connect(path).execute("CREATE TABLE a (b)").connection.close()
        start = b"SQLite format 3\0"
    with pytest.raises(InputError, match="not a file of verdicts"):
        list(read_verdicts(path))
    path.write_bytes(start + b"and no more")
    with pytest.raises(InputError, match="cannot read"):
        list(read_verdicts(path))


def test_a_missing_package_is_named(jsonl: Jsonl, monitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow the error says what to install, before anything is judged."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    told: list[object] = []
    path = jsonl(*rows())
    with pytest.raises(MissingExtra, match=r"undertow\[parquet\]"):
        audit(path, monitor=monitor, out=path.with_name("v.parquet"), each=lambda *pair: told.append(pair))
    assert told == []


def test_a_line_is_the_verdict(jsonl: Jsonl, monitor: Any, tmp_path: Path) -> None:
    """JSON Lines hold the JSON form, and nothing around it."""
    out = tmp_path / "v.jsonl"
    audit(jsonl(*rows()), monitor=monitor, out=out)
    lines = out.read_text().splitlines()
    assert [TraceVerdict.model_validate_json(line).id for line in lines] == ["a", "a", "t:2", "c"]
    assert list(json.loads(lines[0]))[:2] == ["schema", "id"]


def test_parquet_follows_the_model() -> None:
    """The schema has every field of a verdict, under the name that its JSON has."""
    pytest.importorskip("pyarrow")
    names = [field.alias or name for name, field in TraceVerdict.model_fields.items()]
    assert parquet.schema().names == names
