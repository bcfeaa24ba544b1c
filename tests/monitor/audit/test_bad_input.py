"""What people and their tools do wrong, each from file to verdicts: a clear error, or a record.

Nothing that is wrong here loses a row, takes the memory, leads out of a folder or passes for safe. The
parts are tried on their own elsewhere: lines and documents in test_files, packed files and links in
test_places, archives in test_inspect, tables in test_tables, breaks in test_resume.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import InputError, UndertowError, UnknownFormat, UsageError
from undertow.monitor.audit import AuditResult, audit
from undertow.monitor.audit.compare import compare
from undertow.monitor.audit.reopen import reopen
from undertow.monitor.audit.sources import Record
from undertow.monitor.audit.verdicts import read_verdicts
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace

Jsonl = Callable[..., Path]

SAFE = {"id": "safe", "prompt": "P", "reasoning": "All is well.", "answer": "Yes."}
DRIFT = {"id": "drift", "prompt": "Q", "reasoning": "Let me zorp the thing.", "answer": "No."}


def counts(result: AuditResult) -> tuple[int, int, int, int]:
    """Return how many records there are, and how many were judged in full, in part and not at all."""
    return result.records, result.full, result.partial, result.none


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Hold what runs inside to so many bytes."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit


def bomb(path: Path, compression: int, *, says: int | None = None) -> Path:
    """Write a log of Inspect with a sample that unpacks to 768 MiB; its directory may say otherwise."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("header.json", json.dumps({"eval": {"model": "m"}}))
        messages = [{"role": "user", "content": "P"}, {"role": "assistant", "content": "<think>R</think>A"}]
        sound = {"id": "s", "epoch": 1, "input": "P", "target": "t", "messages": messages}
        archive.writestr("samples/s_epoch_1.json", json.dumps(sound))
        with archive.open("samples/z_epoch_1.json", "w", force_zip64=True) as member:
            for _ in range(768):
                member.write(bytes(2**20))
    if says is not None:
        raw = bytearray(path.read_bytes())
        entry = raw.rindex(b"PK\x01\x02")  # of the last member, in the archive's directory
        raw[entry + 24 : entry + 28] = struct.pack("<I", says)
        path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("compression", "says"),
    [(zipfile.ZIP_DEFLATED, None), (zipfile.ZIP_DEFLATED, 100), (93, None), (93, 100), (93, 2**28)],
    ids=["honest", "said to be small", "Zstandard", "Zstandard, small", "Zstandard, less than it is"],
)
def test_a_zip_bomb_in_a_log(tmp_path: Path, monitor: Monitor, compression: int, says: int | None) -> None:
    """What unpacks to more than is read is a record and takes no memory; the other sample is judged."""
    pytest.importorskip("inspect_ai")
    import inspect_ai.log  # noqa: F401  (its own memory is not what is asked; and it knows Zstandard)

    path = bomb(tmp_path / "t.eval", compression, says=says)
    assert path.stat().st_size < 2**20
    with memory_below((says or 0) * 3 + 160 * 2**20):
        result = audit(path, monitor=monitor, out=tmp_path / "v.jsonl")
    assert counts(result) == (2, 1, 0, 1)
    _, last = read_verdicts(tmp_path / "v.jsonl")
    assert last.not_assessed is not None and last.not_assessed.reason == "unreadable_row"
    assert last.not_assessed.detail.startswith("damaged" if says else "larger than 512 MiB when unpacked")


@pytest.mark.parametrize("way", ["a file", "a folder", "nowhere"])
def test_a_link_out_of_the_folder(jsonl: Jsonl, tmp_path: Path, monitor: Monitor, way: str) -> None:
    """A folder with a link that leads out of it, or nowhere, is refused before anything is judged."""
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    runs.mkdir()
    elsewhere.mkdir()
    jsonl(SAFE).rename(elsewhere / "t.jsonl")
    (runs / "data" if way == "a folder" else runs / "t.jsonl").symlink_to(
        {"a file": elsewhere / "t.jsonl", "a folder": elsewhere, "nowhere": tmp_path / "gone"}[way]
    )
    with pytest.raises(InputError, match=r"is (a link to a file outside|.*a broken link)"):
        audit(runs, monitor=monitor, out=tmp_path / "v.jsonl")
    assert not (tmp_path / "v.jsonl").exists()


HALF = json.dumps([{"role": "assistant", "content": "Half \ud800 a pair.", "parts": [], "model": "m\udfff"}])
PARTS = HALF.replace("[]", '[{"content": "\\ud800"}]')


@pytest.mark.parametrize(
    "row",
    [
        {"id": "i", "messages": HALF},
        {"type": "GENERATION", "id": "i", "traceId": "t", "input": "P", "output": HALF},
        {
            "span_id": "i",
            "attributes": {"gen_ai.output.messages": HALF.replace("[]", '[{"content": "\\ud800"}]')},
        },
    ],
    ids=["messages", "langfuse", "otel"],
)
def test_half_a_surrogate_pair_in_json_within_json(
    jsonl: Jsonl, tmp_path: Path, monitor: Monitor, row: dict[str, Any]
) -> None:
    """Text that no file could hold is replaced wherever it was hidden, and the verdict can be written."""
    seen: list[Record] = []
    out = tmp_path / "v.jsonl"
    audit(jsonl(row), monitor=monitor, out=out, each=lambda record, _: seen.append(record))
    (record,) = seen
    assert isinstance(record, Trace)
    assert "\ufffd" in f"{record.answer}"
    assert [verdict.id for verdict in read_verdicts(out)] == [record.id]


def test_a_parquet_with_the_wrong_schema(jsonl: Jsonl, tmp_path: Path, monitor: Monitor) -> None:
    """Columns that nothing is known of are named before the other files are judged; types make records."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    wrong, typed = tmp_path / "wrong.parquet", tmp_path / "typed.parquet"
    pq.write_table(pa.table({"embedding": [[0.1]], "text": ["x"]}), wrong)
    seen: list[object] = []
    with pytest.raises(UnknownFormat, match=r"wrong\.parquet.*embedding \(a list\), text \(text\).*--map"):
        audit([jsonl(SAFE), wrong], monitor=monitor, each=lambda *_: seen.append(None))
    assert not seen
    pq.write_table(pa.table({"reasoning": ["All is well."], "answer": [7]}), typed)
    assert counts(audit([jsonl(SAFE), typed], monitor=monitor)) == (2, 1, 0, 1)


def test_a_line_of_a_gigabyte(tmp_path: Path, monitor: Monitor) -> None:
    """A line far above the limit is a record, passed over in bounded memory; its neighbours are judged."""
    path = tmp_path / "t.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(SAFE).encode() + b"\n")
        file.seek(2**30, os.SEEK_CUR)  # what lies between takes no disk
        file.write(b"\n" + json.dumps(DRIFT).encode())
    with memory_below(3 * 256 * 2**20):
        result = audit(path, monitor=monitor, out=tmp_path / "v.jsonl")
    assert counts(result) == (3, 2, 0, 1)
    _, long, _ = read_verdicts(tmp_path / "v.jsonl")
    assert long.not_assessed is not None
    assert long.not_assessed.detail == "line 2: longer than 256 MiB"


def test_mixed_formats_in_one_file(jsonl: Jsonl, monitor: Monitor) -> None:
    """Rows of several formats are each read as what they are; a table glued on below is so many records."""
    turn = {"role": "assistant", "content": "<think>All is well.</think>Yes."}
    response = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "All is well."}]}
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes."}]}
    rows = [
        SAFE,
        {"messages": [{"role": "user", "content": "P"}, turn]},
        {"conversations": [{"from": "gpt", "value": "<think>Let me zorp the thing.</think>No."}]},
        {"object": "response", "output": [response, item]},
        b"id,reasoning,answer",
        b"7,All is well.,Yes.",
    ]
    formats: list[str | None] = []
    result = audit(jsonl(*rows), monitor=monitor, each=lambda r, _: formats.append(r.origin.format))
    assert formats[:4] == ["fields", "openai-chat", "sharegpt", "openai-responses"]
    assert counts(result) == (6, 4, 0, 2)
    assert (result.flagged, result.exit_code) == (1, 1)


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "sqlite"])
def test_duplicate_ids(jsonl: Jsonl, tmp_path: Path, monitor: Monitor, ending: str) -> None:
    """Rows of one id, the same and others, are each judged and kept, and each finds its own text again."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    twice = [SAFE, {**DRIFT, "id": "safe"}, SAFE, {**SAFE, "id": ""}]
    paths = [jsonl(*twice, name="a.jsonl"), jsonl(*twice[:2], name="b.jsonl")]
    out = tmp_path / f"v.{ending}"
    result = audit(paths, monitor=monitor, out=out)
    assert (result.records, result.flagged) == (6, 2)
    pairs = list(reopen(out))
    assert [verdict.flagged for _, verdict in pairs] == [False, True, False, False, False, True]
    assert [verdict.id for _, verdict in pairs] == ["safe", "safe", "safe", "a:3", "safe", "safe"]
    for record, verdict in pairs:
        assert isinstance(record, Trace) and record.reasoning is not None
        assert ("zorp" in record.reasoning) == verdict.flagged
    if ending == "sqlite":
        with closing(sqlite3.connect(out)) as base:
            query = "SELECT count(*), sum(flagged) FROM verdicts WHERE id = 'safe'"
            assert base.execute(query).fetchone() == (5, 2)


def test_duplicate_ids_in_a_comparison(jsonl: Jsonl, monitor: Monitor) -> None:
    """Where ids stand for prompts, traces of one id are one case with several traces."""
    bare = [{name: row[name] for name in ("reasoning", "answer")} | {"id": "x"} for row in (SAFE, DRIFT)]
    found = compare(jsonl(*bare), jsonl(bare[0], bare[0], name="b.jsonl"), monitor=monitor)
    assert (found.prompts, found.rate_after, found.rate_before) == (1, 0.5, 0.0)


@pytest.mark.parametrize("now", [0.0, 2.0**40, -1.0])
def test_resuming_asks_no_clock(
    jsonl: Jsonl, tmp_path: Path, monitor: Monitor, monkeypatch: pytest.MonkeyPatch, now: float
) -> None:
    """With a clock that stands still and files of any age, a resumed run ends with the same bytes."""
    rows = [{**(DRIFT if n % 3 else SAFE), "id": str(n)} for n in range(30)]
    path, out, whole = jsonl(*rows), tmp_path / "v.jsonl", tmp_path / "whole.jsonl"
    audit(path, monitor=monitor, out=whole)
    for name in ("time", "monotonic"):
        monkeypatch.setattr(f"time.{name}", lambda: now)
    monkeypatch.setattr("undertow.monitor.audit.journal.monotonic", lambda: now)

    judged: list[str] = []

    def stop(record: Any, _: object) -> None:
        judged.append(record.id)
        if len(judged) == 12:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        audit(path, monitor=monitor, out=out, each=stop)
    os.utime(path, (max(now, 0.0), max(now, 0.0)))
    original = Monitor.judge_pairs
    asked: list[str] = []

    def watched(self: Monitor, records: Any) -> Any:
        for record, verdict in original(self, records):
            asked.append(record.id)
            yield record, verdict

    monkeypatch.setattr(Monitor, "judge_pairs", watched)
    audit(path, monitor=monitor, out=out, resume=True)
    assert asked == [str(n) for n in range(12, 30)]
    assert out.read_bytes() == whole.read_bytes()


RUN = """
import resource, sys
from undertow.errors import UndertowError
from undertow.monitor.audit import audit
from undertow.testing import scripted_monitor
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
wait = lambda *_: print("judged", flush=True) or sys.stdin.readline()
try:
    audit(sys.argv[1], monitor=scripted_monitor(), out=sys.argv[2], resume=True, each=wait)
except (UndertowError, OSError) as error:
    sys.exit(str(error))
"""
"""An audit that waits for a line after each verdict, and may write files of so many bytes."""


def running(path: Path, out: Path, room: int = resource.RLIM_INFINITY) -> subprocess.Popen[str]:
    """Begin an audit in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), str(out), str(room)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "sqlite"])
def test_a_full_disk_in_mid_write(jsonl: Jsonl, tmp_path: Path, ending: str) -> None:
    """Where the system takes no more bytes, a line says what to do, nothing half is left, and it goes on."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    rows = [{"id": str(n), "reasoning": f"Number {n}. " * 40, "answer": "Yes."} for n in range(150)]
    path, out, whole = jsonl(*rows), tmp_path / f"v.{ending}", tmp_path / f"w.{ending}"

    with running(path, out, 2**16) as run:
        _, said = run.communicate()
    assert run.returncode == 1
    assert "run again with --resume" in said, said
    assert not out.exists()
    for target in (out, whole):
        with running(path, target) as run:
            _, said = run.communicate()
        assert run.returncode == 0, said
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["t.jsonl", out.name, whole.name])


def test_two_runs_on_one_output(jsonl: Jsonl, tmp_path: Path, monitor: Monitor) -> None:
    """The second run is refused while the first writes, and the first is not disturbed."""
    path, out = jsonl(SAFE, DRIFT, SAFE), tmp_path / "v.jsonl"
    with running(path, out) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "judged\n"
        for resume in (False, True):
            with pytest.raises(UsageError, match=r"another run is writing to .*v\.jsonl"):
                audit(path, monitor=monitor, out=out, resume=resume)
        _, said = first.communicate()
    assert first.returncode == 0, said
    assert len(list(read_verdicts(out))) == 3
    assert audit(path, monitor=monitor, out=out).records == 3


def test_an_error_says_what_to_do(tmp_path: Path, monitor: Monitor) -> None:
    """What cannot be read at all is one error of ours, which names the file."""
    for name, content in (("t.eval", b"PK\x03\x04 no archive"), ("t.parquet", b"PAR1 no table")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UndertowError, match=name):
            audit(tmp_path / name, monitor=monitor)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_verdicts_among_the_transcripts(jsonl: Jsonl, tmp_path: Path, monitor: Monitor, ending: str) -> None:
    """Verdicts that were put where transcripts are are told apart from them, with what to do."""
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    audit(jsonl(SAFE), monitor=monitor, out=tmp_path / f"v.{ending}")
    with pytest.raises(UnknownFormat, match=rf"v\.{ending} contains verdicts.*undertow report"):
        audit(tmp_path, monitor=monitor)
