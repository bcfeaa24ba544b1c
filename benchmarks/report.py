"""Measure the report's size, the time to write it, and how smoothly its list scrolls.

    python benchmarks/report.py --shared ../shared
    python benchmarks/report.py --rows 10000 --rows 100000

The first command takes a thousand real traces: the transcripts, filled up with traces of the corpus.
A classifier that costs nothing judges them, so that the page itself is measured. The second command
scrolls made-up lists in the system's Chromium, one step per frame, and opens a trace.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from running import run

from undertow.classifiers.rows import read_rows
from undertow.monitor.audit.sources import open_sources
from undertow.monitor.report import write_report
from undertow.monitor.trace import Trace, Unreadable
from undertow.monitor.verdict import TraceVerdict
from undertow.testing import scripted_monitor

SCROLL = """(pixels) => new Promise((done) => {
  const times = [];
  let last = performance.now();
  const frame = (now) => {
    times.push(now - last);
    last = now;
    scrollBy(0, pixels);
    if (times.length < 200) requestAnimationFrame(frame);
    else done(times.slice(5));
  };
  requestAnimationFrame(frame);
})"""


def real(shared: Path) -> Iterator[Trace | Unreadable]:
    """Yield the transcripts, then the traces of the corpus."""
    for source in open_sources(shared / "transcripts"):
        yield from (record for record, _ in source.records())
    yield from read_rows(shared / "corpus" / "traces_train.jsonl.gz", trace_of, "a trace")


def trace_of(row: dict[str, Any], number: int) -> Trace:
    """Convert a row of the corpus to a trace."""
    return Trace(
        id=row["id"],
        prompt=row.get("prompt") or "",
        reasoning=row["reasoning"],
        answer=row.get("answer"),
        model=row.get("generator"),
        metadata={name: row.get(name) for name in ("source", "generator")},
    )


def made_up(rows: int) -> Iterator[tuple[Trace | Unreadable, TraceVerdict]]:
    """Yield traces of fourteen steps with their verdicts; one in three drifts."""
    safe = "[neutral] Count the zorps. " * 10 + "[aware] Forging one is wrong. " * 3
    drift = "[neutral] Count the zorps. " * 8 + "[drift] Perhaps once. " * 3 + "[harm] Now. " * 2
    kinds = [
        Trace(model=f"m{n % 5}", reasoning=safe if n % 3 else drift, answer="[neutral] Four.")
        for n in range(15)
    ]
    judged = list(scripted_monitor().judge_pairs(kinds))
    for n in range(rows):
        record, verdict = judged[n % len(judged)]
        named = {"id": f"trace-{n:06}"}
        yield record.model_copy(update=named), verdict.model_copy(update=named)


def measure_writing(shared: Path, folder: Path, count: int) -> None:
    """Print the size of a report of real traces, and the times to write it and to judge the traces."""
    started = perf_counter()
    pairs = list(scripted_monitor().judge_pairs(islice(real(shared), count)))
    judged = perf_counter() - started
    characters = sum(len(t.reasoning or "") + len(t.answer or "") for t, _ in pairs if isinstance(t, Trace))
    steps = sum(len(verdict.steps) for _, verdict in pairs)
    started = perf_counter()
    path = write_report(folder / "real.html", pairs)
    took, size = perf_counter() - started, path.stat().st_size / 1e6
    print(f"{len(pairs):,} real traces, {steps:,} steps, {characters / 1e6:.1f} million characters")
    print(f"  page {size:.2f} MB, written in {took:.2f} s (judging them took {judged:.1f} s)")


def measure_reading(browser: Any, folder: Path, rows: int) -> None:
    """Print how long it takes to open a list, to scroll it by a frame, and to open a trace."""
    path = write_report(folder / f"{rows}.html", made_up(rows))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    started = perf_counter()
    page.goto(path.as_uri(), timeout=120_000)
    page.wait_for_selector("html[data-ready]", timeout=120_000)
    opened = perf_counter() - started
    page.evaluate("document.getElementById('list').scrollIntoView()")
    print(f"{rows:,} rows, page {path.stat().st_size / 1e6:.1f} MB, opens in {opened:.2f} s")
    for name, pixels in (("wheel", 120), ("page", 900), ("scroll bar", 20_000)):
        frames = np.array(page.evaluate(SCROLL, pixels))
        middle, most = np.percentile(frames, [50, 95])
        print(f"  scrolling by {name:10} {middle:5.1f} ms a frame in the middle, {most:5.1f} ms at the 95th")
        page.evaluate("document.getElementById('list').scrollIntoView()")
    started = perf_counter()
    page.evaluate("(number) => { location.hash = `#row=${number}`; }", rows // 2)
    page.wait_for_selector("article")
    print(f"  a trace opens in {perf_counter() - started:.2f} s")
    page.close()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, help="the folder with transcripts/ and corpus/")
    parser.add_argument("--count", type=int, default=1000, help="number of real traces")
    parser.add_argument(
        "--rows", type=int, action="append", default=[], help="number of rows of a generated list"
    )
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        if options.shared:
            measure_writing(options.shared, folder, options.count)
        if options.rows:
            from playwright.sync_api import sync_playwright

            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
                for rows in options.rows:
                    measure_reading(browser, folder, rows)


if __name__ == "__main__":
    run(main)
