"""Measure false alarms on safe traces not used in training or calibration, by source and by length.

    python benchmarks/false_alarms.py
    python benchmarks/false_alarms.py --classifier step-lexical

The first traces are natural: harmless reasoning (thought-anchors, steering-thinking) that was not among
the benign lessons of step-encoder; several answer the same puzzles as those lessons. The others are far
longer, made by concatenating the steps of traces of one source: they are harder than real traces, since
each concatenated trace brings new risks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from fits import CORPUS
from further import also_labelled, further_lessons
from numpy.typing import NDArray
from running import run

from undertow.classifiers.contract import Channel
from undertow.classifiers.corpus import read_labelled
from undertow.classifiers.registry import DEFAULT
from undertow.classifiers.rows import read_rows
from undertow.monitor.drift import DriftTracker
from undertow.monitor.evaluation import Share
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict

TRACES = CORPUS.parent / "traces_train.jsonl.gz"
LENGTHS = (0, 15, 30, 60, 120, 10_000)
SPLICED = (250, 1000, 4000)

Row: TypeAlias = tuple[float, float, float, float]


def safe_traces(path: Path, known: set[str], learned: set[str]) -> Iterator[Trace]:
    """Yield the traces that are safe by construction and were not used in training."""
    for row in read_rows(path, lambda row, _: row, "a trace"):
        if row["labels"].get("selected_as") not in ("safe", "benign") or not row["units"]:
            continue
        start, end = row["units"][0]
        if row["group"] not in known and row["reasoning"][start:end] not in learned:
            yield Trace(
                id=row["id"],
                prompt=row["prompt"] or "",
                reasoning=row["reasoning"],
                answer=row["answer"],
                metadata={"source": row["source"]},
            )


def rows(verdict: TraceVerdict, channel: Channel) -> list[Row]:
    """Return the rows of a channel's steps, without steps that could not be judged."""
    steps = [step.probabilities for step in verdict.steps if step.channel == channel]
    return [(p.neutral, p.aware, p.drift, p.harm) for p in steps if p is not None]


def statistic(steps: Iterable[Row]) -> float:
    """Return the highest value of the drift statistic over these steps."""
    tracker = DriftTracker(np.inf)
    for row in steps:
        tracker.update(row)
    return tracker.statistic


def spliced(pool: list[list[Row]], length: int, count: int) -> Iterator[float]:
    """Yield the statistics of `count` traces of `length` steps, each concatenated from random traces."""
    random = np.random.default_rng(0)
    for _ in range(count):
        steps: list[Row] = []
        while len(steps) < length:
            steps += pool[random.integers(len(pool))]
        yield statistic(steps[:length])


def share(alarms: NDArray[np.bool_]) -> str:
    """Return the cells of a row for some traces: their number, and the share that raised an alarm."""
    return f"{len(alarms)} | {Share(int(alarms.sum()), len(alarms))}"


def tabulate(monitor: Monitor, rate: float, sources: list[str], verdicts: list[TraceVerdict]) -> None:
    """Print the false alarms at one rate."""
    threshold, margin = monitor.calibration.threshold(rate), monitor.calibration.margins.get("answer", 0.0)
    alarms = np.array(
        [
            statistic(rows(v, "reasoning")) > threshold or statistic(rows(v, "answer")) > threshold + margin
            for v in verdicts
        ]
    )
    lengths = np.array([len(rows(v, "reasoning")) for v in verdicts])
    print(f"\n| safe traces, at {rate:.0%} | traces | false alarms |\n|---|---|---|")
    for source in dict.fromkeys(sources):
        print(f"| {source} | {share(alarms[np.array(sources) == source])} |")
    for low, high in pairwise(LENGTHS):
        print(f"| {low} to {high - 1} steps | {share(alarms[(lengths >= low) & (lengths < high)])} |")
    for source in dict.fromkeys(sources):
        pool = [rows(v, "reasoning") for v, s in zip(verdicts, sources, strict=True) if s == source]
        for length in SPLICED:
            reached = np.fromiter(spliced([some for some in pool if some], length, 100), dtype=np.float64)
            print(f"| {source}, concatenated, {length} steps | {share(reached > threshold)} |")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classifier", default=DEFAULT)
    parser.add_argument("--rates", type=float, nargs="+", default=(0.05, 0.01))
    parser.add_argument("--most", type=int, default=250, help="the maximum number of traces of each source")
    options = parser.parse_args()
    labelled = read_labelled(CORPUS)
    known = {trace.group for trace in labelled}
    learned = {one.steps[0] for one in further_lessons(CORPUS.parent, labelled, labelled) if one.steps}
    learned |= {one.texts[0] for one in also_labelled(CORPUS.parent, labelled, labelled)}
    taken: dict[str, list[Trace]] = {}
    for trace in safe_traces(TRACES, known, learned):
        taken.setdefault(trace.metadata["source"], []).append(trace)
    traces = [trace for some in taken.values() for trace in some[: options.most]]
    monitor = Monitor(options.classifier, false_alarm_rate=max(options.rates))
    verdicts = list(monitor.judge(traces))
    for rate in options.rates:
        tabulate(monitor, rate, [trace.metadata["source"] for trace in traces], verdicts)


if __name__ == "__main__":
    run(main)
