"""A run that was broken off goes on, and ends as if it had not been."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.errors import UndertowError, UsageError
from undertow.monitor.audit import audit
from undertow.monitor.audit.journal import Journal
from undertow.monitor.monitor import Monitor

Jsonl = Callable[..., Path]

ROWS = [
    {
        "id": f"t{n}",
        "prompt": "P",
        "reasoning": f"Number {n}. Let me {'zorp the' if n % 3 else 'see a'} thing.",
    }
    for n in range(40)
]


class Stop(Exception):
    """Breaks a run off."""


def broken_off(path: Path, monitor: Monitor, out: Path, after: int) -> None:
    """Audit, and stop after so many verdicts."""
    seen: list[str] = []

    def stop(*_: object) -> None:
        seen.append("")
        if len(seen) == after:
            raise Stop

    with pytest.raises(Stop):
        audit(path, monitor=monitor, out=out, each=stop)


def asked(path: Path, monitor: Monitor, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Resume an audit; return how many records were judged, rather than taken from the journal."""
    judged: list[str] = []
    original = Monitor.judge_pairs

    def watched(self: Monitor, records: object) -> object:
        for record, verdict in original(self, records):  # type: ignore[arg-type]
            judged.append(record.id)
            yield record, verdict

    monkeypatch.setattr(Monitor, "judge_pairs", watched)
    audit(path, monitor=monitor, out=out, resume=True)
    monkeypatch.undo()
    return len(judged)


@pytest.mark.parametrize("after", [1, 17, 40])
@pytest.mark.parametrize("ending", ["jsonl", "parquet", "sqlite"])
def test_a_resumed_run_ends_like_an_unbroken_one(  # noqa: PLR0917  (fixtures)
    jsonl: Jsonl, monitor: Monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, ending: str
) -> None:
    """The file is the same byte for byte, nothing is judged twice, and the journal is gone."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path, whole, out = jsonl(*ROWS), tmp_path / f"whole.{ending}", tmp_path / f"v.{ending}"
    expected = audit(path, monitor=monitor, out=whole)
    broken_off(path, monitor, out, after)
    assert not out.exists()
    assert asked(path, monitor, out, monkeypatch) == 40 - after
    assert out.read_bytes() == whole.read_bytes()
    assert audit(path, monitor=monitor, out=out, resume=True) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.jsonl", f"v.{ending}", f"whole.{ending}"]


@pytest.mark.parametrize(
    ("change", "judged"),
    [
        (lambda rows: rows, 20),
        (lambda rows: [*rows[:5], {**rows[5], "reasoning": "Else."}, *rows[6:]], 35),
        (lambda rows: [*rows, {"id": "new", "reasoning": "More."}], 21),
        (lambda rows: rows[:10], 0),
        (lambda rows: rows[::-1], 40),
    ],
    ids=["nothing", "a text", "grown", "cut", "order"],
)
def test_what_has_changed_is_judged_again(  # noqa: PLR0917  (fixtures)
    jsonl: Jsonl,
    monitor: Monitor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[list[object]], list[object]],
    judged: int,
) -> None:
    """A verdict is taken from the journal only where row and text are the same; no clock is asked."""
    out, whole = tmp_path / "v.jsonl", tmp_path / "whole.jsonl"
    broken_off(jsonl(*ROWS), monitor, out, 20)
    path = jsonl(*change(list(ROWS)))
    os.utime(path, (0, 0))
    audit(path, monitor=monitor, out=whole)
    assert asked(path, monitor, out, monkeypatch) == judged
    assert out.read_bytes() == whole.read_bytes()


def test_another_threshold_is_another_run(
    jsonl: Jsonl, monitor: Monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was judged at another rate of false alarms is judged again."""
    path, out = jsonl(*ROWS), tmp_path / "v.jsonl"
    broken_off(path, monitor, out, 20)
    other = Monitor(monitor.classifier, false_alarm_rate=0.1, calibration=monitor.calibration)
    assert asked(path, other, out, monkeypatch) == 40


def test_without_resume_a_run_begins_anew(jsonl: Jsonl, monitor: Monitor, tmp_path: Path) -> None:
    """What an earlier run left is thrown away unless it is asked for; resume wants to know where it is."""
    path, out = jsonl(*ROWS), tmp_path / "v.jsonl"
    broken_off(path, monitor, out, 20)
    audit(jsonl(*ROWS[30:]), monitor=monitor, out=out)
    assert len(out.read_bytes().splitlines()) == 10
    with pytest.raises(UsageError, match="--out"):
        audit(path, monitor=monitor, resume=True)


def test_a_damaged_journal_is_noticed(
    jsonl: Jsonl, monitor: Monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a verdict on that cannot be read all is judged again; what is no journal is an error."""
    path, out = jsonl(*ROWS), tmp_path / "v.jsonl"
    broken_off(path, monitor, out, 20)
    journal = tmp_path / ".v.jsonl.journal"
    with sqlite3.connect(journal) as base:
        base.execute("UPDATE verdicts SET verdict = 'x' WHERE number = 7")
    base.close()
    assert asked(path, monitor, out, monkeypatch) == 33
    journal.write_bytes(b"no database, but of some length" * 100)
    with pytest.raises(UndertowError, match="damaged: delete it"):
        audit(path, monitor=monitor, out=out, resume=True)


@pytest.mark.parametrize("name", ["v.jsonl", f"{'v' * 245}.jsonl"], ids=["taken", "too long"])
def test_no_journal_can_be_made(jsonl: Jsonl, monitor: Monitor, tmp_path: Path, name: str) -> None:
    """A place where no file can be made, as in a folder that is closed, is wrong usage, said in a line."""
    (tmp_path / ".v.jsonl.journal").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*journal cannot be created beside it"):
        audit(jsonl(*ROWS), monitor=monitor, out=tmp_path / name)


def test_a_full_disk(jsonl: Jsonl, monitor: Monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that cannot grow ends the run with a word on what to do; what it has is taken up again."""
    rows = [{**row, "reasoning": f"{row['reasoning']} {'So it is. ' * 80}"} for row in ROWS]
    path, out, whole = jsonl(*rows), tmp_path / "v.jsonl", tmp_path / "whole.jsonl"
    audit(path, monitor=monitor, out=whole)
    monkeypatch.setattr("undertow.monitor.audit.journal._EVERY", 0.0)
    original = Journal._open

    def small(self: Journal, resume: bool) -> None:
        original(self, resume)
        self._base.execute("PRAGMA max_page_count = 10")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open", small)
        with pytest.raises(UndertowError, match=r"full.*--resume"):
            audit(path, monitor=monitor, out=out)
    assert not out.exists()
    assert 0 < asked(path, monitor, out, monkeypatch) < 40
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("ending", ["jsonl", "sqlite"])
def test_a_full_disk_at_the_end(
    jsonl: Jsonl, monitor: Monitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Where the output itself finds no room, what stood there stays, and nothing is judged again."""
    path, out = jsonl(*ROWS), tmp_path / f"v.{ending}"
    out.write_text("from an earlier run")
    with monkeypatch.context() as patch:
        patch.setattr("undertow.monitor.audit.run.writer_for", lambda _: full)
        with pytest.raises(UndertowError, match=r"No space.*--resume"):
            audit(path, monitor=monitor, out=out)
    assert out.read_text() == "from an earlier run"
    assert asked(path, monitor, out, monkeypatch) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.jsonl", f"v.{ending}"]


def full(lines: object, path: Path) -> None:
    """A writer on a disk that is full after some bytes."""
    path.write_text("some bytes")
    raise OSError(28, "No space left on device")


RUN = """
import sys, time
from undertow.monitor.audit import audit
from undertow.testing import scripted_monitor
slow = lambda *_: (print("judged", flush=True), time.sleep(float(sys.argv[3])))
audit(sys.argv[1], monitor=scripted_monitor(), out=sys.argv[2], resume=True, each=slow)
"""


def test_a_killed_process_is_resumed(jsonl: Jsonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After kill -9, twice and at any moment, the next run ends with the same bytes as an unbroken one."""
    path, out, whole = jsonl(*ROWS * 20), tmp_path / "v.jsonl", tmp_path / "whole.jsonl"

    def start(target: Path, pause: str) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", RUN, str(path), str(target), pause]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)

    for _ in range(2):
        with start(out, "0.002") as run:
            assert run.stdout is not None
            run.stdout.readline()
            time.sleep(0.8)
            run.send_signal(signal.SIGKILL)
            run.communicate()
        assert run.returncode == -signal.SIGKILL
        assert not out.exists()
    for target in (out, whole):
        with start(target, "0") as run:
            run.communicate()
        assert run.returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(out.read_bytes().splitlines()) == len(ROWS) * 20
