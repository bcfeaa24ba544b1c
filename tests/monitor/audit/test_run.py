"""An audit judges every record, writes it, counts it, and says what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.errors import InputError, UsageError
from undertow.monitor.audit import audit, read
from undertow.monitor.evidence import with_evidence
from undertow.monitor.monitor import Monitor
from undertow.monitor.report import write_report
from undertow.monitor.steps import segment
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict

Jsonl = Callable[..., Path]

SAFE = {"id": "safe", "prompt": "P", "reasoning": "All is well. I say so.", "answer": "Yes."}
DRIFT = {
    "id": "drift",
    "prompt": "P",
    "reasoning": "One thing first. Let me zorp the thing. It is zorped.",
    "answer": "No.",
}
AWARE = {"id": "aware", "prompt": "P", "reasoning": "One must not zorp the thing.", "answer": "No."}
HARM = {"id": "harm", "reasoning": "It is zorped.", "answer": "It is zorped."}
BARE = {"id": "bare", "answer": "Yes."}
BLANK = {"id": "blank", "reasoning": "", "answer": None}
DUMB = {"id": "dumb", "reasoning": "This is unjudgeable.", "answer": "So is this: unjudgeable."}


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([SAFE, AWARE], 0),
        ([SAFE, DRIFT], 1),
        ([SAFE, BARE], 3),
        ([SAFE, BLANK], 3),
        ([SAFE, b"{"], 3),
        ([DUMB], 3),
        ([DRIFT, b"{"], 1),
    ],
    ids=["all safe", "flagged", "in part", "no text", "unreadable", "not judged", "flagged and unreadable"],
)
def test_exit_codes(jsonl: Jsonl, monitor: Monitor, rows: list[object], code: int) -> None:
    """0 nothing flagged and all judged in full, 1 something flagged, 3 something not judged in full."""
    assert audit(jsonl(*rows), monitor=monitor).exit_code == code


def test_the_figures(jsonl: Jsonl, monitor: Monitor) -> None:
    """Every record is counted once, by how it was judged, why not, what was found, and where."""
    result = audit(jsonl(SAFE, DRIFT, AWARE, HARM, BARE, BLANK, b"{", {"reasoning": 7}), monitor=monitor)
    assert (result.records, result.full, result.partial, result.none) == (8, 4, 1, 3)
    assert result.why_partial == {"no_reasoning": 1}
    assert result.why_none == {"no_text": 1, "unreadable_row": 1, "wrong_types": 1}
    assert result.flagged == 2
    assert result.interval == pytest.approx((0.1176, 0.7693), abs=1e-4)  # R: binom::binom.wilson(2, 5)
    assert result.quadrants == {
        "safe-reasoning/safe-answer": 2,
        "unsafe-reasoning/safe-answer": 1,
        "unsafe-reasoning/unsafe-answer": 1,
    }
    assert (result.onsets.traces, result.onsets.at_first_step) == (2, 1)
    assert result.onsets.quartiles == pytest.approx(np.quantile([0, 17 / 53], (0.25, 0.5, 0.75)), abs=1e-3)
    assert [(one.id, one.step, one.steps, one.label) for one in result.worst] == [
        ("drift", 1, 3, "drift"),
        ("harm", 0, 1, "harm"),
    ]


def test_the_worst_are_the_riskiest(jsonl: Jsonl, monitor: Monitor) -> None:
    """Five of the flagged at most; of equals those that came first; a flagged answer says so."""
    answers = [{"id": f"a{i}", "reasoning": "Fine.", "answer": "It is zorped."} for i in range(7)]
    worst = audit(jsonl(SAFE, *answers), monitor=monitor).worst
    assert [one.id for one in worst] == ["a0", "a1", "a2", "a3", "a4"]
    assert {one.channel for one in worst} == {"answer"}


def test_verdicts_are_written(jsonl: Jsonl, monitor: Monitor, tmp_path: Path) -> None:
    """`out` has one verdict a record, in order, in the form that the schema says."""
    out = tmp_path / "v.jsonl"
    out.write_text("from an earlier run")
    audit(jsonl(SAFE, b"{", DRIFT), monitor=monitor, out=out)
    verdicts = [TraceVerdict.model_validate_json(line) for line in out.read_text().splitlines()]
    assert [verdict.id for verdict in verdicts] == ["safe", "t:1", "drift"]
    assert [verdict.flagged for verdict in verdicts] == [False, None, True]
    assert json.loads(out.read_text().splitlines()[0])["schema"] == "undertow.verdict/1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.jsonl", "v.jsonl"]


def test_a_run_that_breaks_off_leaves_nothing(jsonl: Jsonl, monitor: Monitor, tmp_path: Path) -> None:
    """Where an audit fails, `out` and `report` are what they were; what `--resume` needs lies beside them."""
    out = tmp_path / "v.jsonl"
    out.write_text("from an earlier run")

    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(jsonl(SAFE), monitor=monitor, out=out, report=tmp_path / "r.html", progress=fail)
    assert out.read_text() == "from an earlier run"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".v.jsonl.journal", "t.jsonl", "v.jsonl"]


@pytest.mark.parametrize("evidence", [False, True], ids=["plain", "evidence"])
def test_the_report_has_every_record(jsonl: Jsonl, monitor: Monitor, tmp_path: Path, evidence: bool) -> None:
    """`report` is the page of all records beside the same verdicts, and beside the evidence if asked."""
    path, out, page = jsonl(SAFE, b"{", DRIFT), tmp_path / "v.jsonl", tmp_path / "r.html"
    audit(path, monitor=monitor, out=out, report=page, evidence=evidence)
    assert len(out.read_text().splitlines()) == 3
    pairs = list(monitor.judge_pairs(read(path)))
    items = with_evidence(lambda _: monitor.classifier, pairs) if evidence else pairs
    assert page.read_bytes() == write_report(tmp_path / "again.html", items).read_bytes()


def test_evidence_needs_a_report(jsonl: Jsonl, monitor: Monitor) -> None:
    """Evidence that nobody would see is not paid for."""
    with pytest.raises(UsageError, match="--report"):
        audit(jsonl(DRIFT), monitor=monitor, evidence=True)


def test_progress_counts_bytes(jsonl: Jsonl, monitor: Monitor) -> None:
    """Progress is told after each verdict, never goes back, and ends with all that there is."""
    paths = [jsonl(SAFE, DRIFT), jsonl(name="empty.jsonl"), jsonl(SAFE, b"{", name="u.jsonl")]
    told: list[tuple[int, int]] = []
    audit(paths, monitor=monitor, progress=lambda done, total: told.append((done, total)))
    size = sum(path.stat().st_size for path in paths)
    assert [total for _, total in told] == [size] * 4
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (size, size)


def test_records_are_let_go(jsonl: Jsonl, monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read as they are judged, not all before the first verdict."""
    seen: list[str] = []
    paths = jsonl(*({"id": str(i), "reasoning": "Fine. " * 100} for i in range(50)))
    original = monitor.judge_pairs

    def watched(records: Any) -> Iterator[Any]:
        return original(note(records))

    def note(records: Any) -> Iterator[Any]:
        for record in records:
            seen.append(f"read {record.id}")
            yield record

    monkeypatch.setattr(monitor, "judge_pairs", watched)
    audit(paths, monitor=monitor, progress=lambda done, total: seen.append("judged"))
    assert seen.index("judged") < seen.index("read 49")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "t.jsonl"}, "one of the inputs"),
        ({"report": "t.jsonl"}, "one of the inputs"),
        ({"out": "v.csv"}, r"end in \.jsonl"),
        ({"out": "no/v.jsonl"}, "its folder does not exist"),
        ({"out": "."}, "not a regular file"),
        ({"report": "r.txt"}, r"end in \.html"),
        ({"report": "x.html", "cache": "x.html"}, "report and the cache cannot both be"),
        ({"cache": "t.jsonl"}, "one of the inputs"),
        ({"out": "x.sqlite", "cache": "../{}/x.sqlite"}, "verdicts and the cache cannot both be written"),
    ],
    ids=[
        "out is input", "report is input", "ending", "no folder", "a folder", "report ending", "the same",
        "cache is input", "cache is out",
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused_first(
    jsonl: Jsonl, monitor: Monitor, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    """A target that would overwrite the input, or is no place for a file, is refused before any work."""
    told: list[int] = []
    targets: dict[str, Any] = {
        name: tmp_path / value.format(tmp_path.name) for name, value in options.items()
    }
    with pytest.raises(UsageError, match=message):
        audit(jsonl(SAFE), monitor=monitor, progress=lambda done, _: told.append(done), **targets)
    assert told == []


def test_a_file_url_is_a_file_here(tmp_path: Path, monitor: Monitor) -> None:
    """It needs no package, may hold what a URL must escape, and is not written over."""
    path = tmp_path / "a b%.jsonl"
    path.write_text(json.dumps(SAFE) + "\n")
    for url in (path.as_uri(), path.as_uri().replace("///", "//localhost/")):
        assert audit(url, monitor=monitor).records == 1
    with pytest.raises(UsageError, match="one of the inputs"):
        audit(path.as_uri(), monitor=monitor, out=path)


def test_nothing_to_audit(jsonl: Jsonl, monitor: Monitor) -> None:
    """Empty files alone are an error; beside others they are named."""
    empty = jsonl(name="empty.jsonl")
    with pytest.raises(InputError, match=r"no rows in .*empty\.jsonl"):
        audit(empty, monitor=monitor)
    assert audit([empty, jsonl(SAFE)], monitor=monitor).empty_files == (str(empty),)


def test_a_million_characters_without_a_space(jsonl: Jsonl, monitor: Monitor, tmp_path: Path) -> None:
    """A step that never ends is judged in bounded pieces, and what comes after it is judged too."""
    tail = "Let me zorp the thing."
    long = {"id": "long", "reasoning": f"{'a' * 1_000_000}. {tail}"}
    out = tmp_path / "v.jsonl"
    result = audit(jsonl(long, SAFE), monitor=monitor, out=out)
    assert result.full == 2
    verdict = TraceVerdict.model_validate_json(out.read_text().splitlines()[0])
    last = verdict.steps[-1]
    assert (last.end, last.label) == (len(long["reasoning"]), "drift")
    assert max(step.end - step.start for step in verdict.steps if step.channel == "reasoning") < 10_000


def test_the_whole_of_the_real_files(shared: Path, monitor: Monitor, tmp_path: Path) -> None:
    """Of all real rows none is lost, and each step's range cuts exactly the text that it names."""
    folder, out = shared / "transcripts", tmp_path / "v.jsonl"
    result = audit(folder, monitor=monitor, out=out)
    assert result.records == result.full == 707
    verdicts = [TraceVerdict.model_validate_json(line) for line in out.read_text().splitlines()]
    for trace, verdict in zip(read(folder), verdicts, strict=True):
        assert isinstance(trace, Trace)
        assert (verdict.id, verdict.origin) == (trace.id, trace.origin)
        cut = [(step.channel, step.start, step.end) for step in verdict.steps]
        texts = {"reasoning": trace.reasoning or "", "answer": trace.answer or ""}
        named = [(channel, step) for channel, text in texts.items() for step in segment(text)]
        assert cut == [(channel, step.start, step.end) for channel, step in named]
        assert all(texts[channel][step.start : step.end] == step.text for channel, step in named)
