"""Measure how well and how fast reasoning is cut into steps: `python benchmarks/segmentation.py`.

Prints three tables.

Human boundaries. RT-SEG's clause units with the segment boundaries that two people drew. Each
person is the reference in turn. P, R and F1 are computed over all borders between units, pooled;
±1 allows a boundary to be one unit off; Pk and WindowDiff (with half the mean reference segment as
window) and the ratio of segments are means over pairs. A strategy sees the joined text. `at borders`
counts the steps that begin where a unit does, which is all that the people could mark; `carried`
moves a step that begins within a unit to the next border instead of leaving it out, which is stricter.

Labelled units. The steps of each strategy against the sentences that have step labels: precision,
recall and F1 of the ends of steps, in characters.

Speed. 100 kB and 1 MB of made-up reasoning in chunks of one character, and 1 MB at once, in
microseconds of CPU time per character. A ratio near 1 means linear cost.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running import SHARED, run

from undertow.classifiers.rows import read_rows
from undertow.monitor.steps import STRATEGIES, StepSegmenter, segment

Boundaries = Sequence[int]
"""For each unit 1 if a segment begins with it, else 0; the first is always 1."""
Predictor = Callable[[Sequence[str], Sequence[Boundaries], int], Boundaries]
"""Predicts boundaries from a trace's units, all its annotations, and the index of the reference."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of boundaries with a reference, over all traces and references."""

    precision: float
    recall: float
    f1: float
    f1_within_one: float
    pk: float
    window_diff: float
    ratio: float


def harmonic(a: float, b: float) -> float:
    """Return the harmonic mean of two shares."""
    return 2 * a * b / (a + b) if a + b else 0.0


def window_errors(reference: Boundaries, predicted: Boundaries) -> tuple[float, float]:
    """Return Pk (Beeferman et al. 1999) and WindowDiff (Pevzner and Hearst 2002) over unit borders.

    The window is half the mean reference segment, rounded, at least one border wide.
    """
    window = max(1, round(len(reference) / (2 * sum(reference))))
    sums = [list(itertools.accumulate(b[1:], initial=0)) for b in (reference, predicted)]
    counts = [[s[i + window] - s[i] for i in range(len(s) - window)] for s in sums]
    pairs = list(zip(*counts, strict=True))
    return (
        statistics.fmean((a > 0) != (b > 0) for a, b in pairs),
        statistics.fmean(a != b for a, b in pairs),
    )


def agreement(traces: Sequence[dict[str, Any]], predict: Predictor) -> Agreement:
    """Compare a predictor with each annotator of each trace."""
    hits = near_predicted = near_reference = n_predicted = n_reference = 0
    windows: list[tuple[float, float]] = []
    ratios: list[float] = []
    for trace in traces:
        for index, reference in enumerate(trace["boundaries"]):
            predicted = predict(trace["units"], trace["boundaries"], index)
            gold = {i for i, b in enumerate(reference) if b and i}
            ours = {i for i, b in enumerate(predicted) if b and i}
            hits += len(gold & ours)
            n_reference += len(gold)
            n_predicted += len(ours)
            near_predicted += sum(bool({i - 1, i, i + 1} & gold) for i in ours)
            near_reference += sum(bool({i - 1, i, i + 1} & ours) for i in gold)
            windows.append(window_errors(reference, predicted))
            ratios.append((len(ours) + 1) / (len(gold) + 1))
    precision, recall = hits / max(1, n_predicted), hits / max(1, n_reference)
    return Agreement(
        precision,
        recall,
        harmonic(precision, recall),
        harmonic(near_predicted / max(1, n_predicted), near_reference / max(1, n_reference)),
        statistics.fmean(pk for pk, _ in windows),
        statistics.fmean(wd for _, wd in windows),
        statistics.fmean(ratios),
    )


def other_person(units: Sequence[str], boundaries: Sequence[Boundaries], reference: int) -> Boundaries:
    """Return the boundaries of the annotator who is not the reference."""
    return boundaries[1 - reference]


def every_unit(units: Sequence[str], boundaries: Sequence[Boundaries], reference: int) -> Boundaries:
    """Return a boundary at each border."""
    return [1] * len(units)


def after(pattern: str) -> Predictor:
    """Return a predictor of a boundary after each unit whose end, without space, matches the pattern."""
    end = re.compile(pattern + r"\s*$")
    return lambda units, *_: [1, *(int(bool(end.search(unit))) for unit in units[:-1])]


def by_strategy(strategy: str, *, carried: bool) -> Predictor:
    """Return a predictor from one of our strategies, which sees the joined text only."""

    def predict(units: Sequence[str], *_: object) -> Boundaries:
        text = "".join(units)
        starts = [step.start for step in segment(text, strategy)]
        ends = itertools.accumulate(map(len, units))
        firsts = [end - len(unit.lstrip()) for end, unit in zip(ends, units, strict=True)]
        if not carried:
            return [int(first in starts) for first in firsts]
        owners = [bisect.bisect_right(starts, first) for first in firsts]
        return [1, *(int(a != b) for a, b in itertools.pairwise(owners))]

    return predict


def unit_f1(traces: Iterable[dict[str, Any]], strategy: str) -> tuple[float, float, float]:
    """Return precision, recall and F1 of the ends of a strategy's steps against those of labelled units."""
    hits = n_ours = n_theirs = 0
    for trace in traces:
        text, units = trace["reasoning"], trace["units"]
        theirs = {len(text[:end].rstrip()) for _, end in units[:-1]}
        ours = {step.end for step in segment(text, strategy) if step.end < units[-1][1]}
        hits += len(ours & theirs)
        n_ours += len(ours)
        n_theirs += len(theirs)
    precision, recall = hits / max(1, n_ours), hits / max(1, n_theirs)
    return precision, recall, harmonic(precision, recall)


def read_jsonl(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the first rows of a JSON Lines file; all if there is no limit."""
    return list(itertools.islice(read_rows(path, lambda row, _: row, "an object"), limit))


def print_quality(shared: Path, n_traces: int) -> None:
    """Print the two tables on quality."""
    traces = read_jsonl(shared / "corpus" / "segmentation_dev.jsonl")
    predictors = {
        "the other person": other_person,
        "unit ends in . ? ! :": after(r"[.?!:][\"')\]*]*"),
        "every unit": every_unit,
        **{f"{s}, at borders": by_strategy(s, carried=False) for s in STRATEGIES},
        **{f"{s}, carried": by_strategy(s, carried=True) for s in STRATEGIES},
    }
    print(f"Human boundaries, {len(traces)} traces, 2 annotators")
    print(f"{'':24}{'P':>7}{'R':>7}{'F1':>7}{'F1 ±1':>7}{'Pk':>7}{'WD':>7}{'ratio':>7}")
    for name, predictor in predictors.items():
        a = agreement(traces, predictor)
        row = (a.precision, a.recall, a.f1, a.f1_within_one, a.pk, a.window_diff, a.ratio)
        print(f"{name:24}" + "".join(f"{value:7.3f}" for value in row))
    labelled = read_jsonl(shared / "corpus" / "steps_train.jsonl", n_traces)
    print(f"\nLabelled units, {len(labelled)} traces\n{'':24}{'P':>7}{'R':>7}{'F1':>7}")
    for strategy in STRATEGIES:
        print(f"{strategy:24}" + "".join(f"{value:7.3f}" for value in unit_f1(labelled, strategy)))


SENTENCES = (
    "Okay, let me work through the request again.",
    "The value is 3.14, i.e. a bit more than 22/7 at scale 0.5!",
    "Wait, is $a + b. c$ the right form, or \\(x_1 = 2\\)?",
    "According to Dr. Lee, the U.S. figures differ (see Fig. 2)...",
    'Hmm, "is it so?" they asked, and nobody in the room knew.',
    "1. Write `total.sum()` first\n2. Then add the rest",
    "```python\nprint('a. b')\n```",
)


def made_up_text(length: int) -> str:
    """Return reasoning-like text of this many characters, the same on each call."""
    rng = random.Random(0)
    parts: list[str] = []
    missing = length
    while missing > 0:
        parts.append(rng.choice(SENTENCES) + rng.choice((" ", " ", "\n", "\n\n")))
        missing -= len(parts[-1])
    return "".join(parts)[:length]


def microseconds(text: str, strategy: str, *, chunk: int) -> float:
    """Return the CPU time per character, in microseconds."""
    segmenter = StepSegmenter(strategy)
    begun = time.process_time()
    for i in range(0, len(text), chunk):
        segmenter.feed(text[i : i + chunk])
    segmenter.close()
    return (time.process_time() - begun) / len(text) * 1e6


def print_speed(repeats: int) -> None:
    """Print the table on speed."""
    long = made_up_text(1_000_000)
    short = long[:100_000]
    print(f"\nSpeed, µs a character, best of {repeats}")
    print(f"{'':24}{'100 kB':>9}{'1 MB':>9}{'ratio':>9}{'at once':>9}")
    for strategy in STRATEGIES:
        runs = [
            (
                min(microseconds(short, strategy, chunk=1) for _ in range(3)),
                microseconds(long, strategy, chunk=1),
                microseconds(long, strategy, chunk=len(long)),
            )
            for _ in range(repeats)
        ]
        small, large, whole = (min(column) for column in zip(*runs, strict=True))
        print(f"{strategy:24}{small:9.3f}{large:9.3f}{large / small:9.2f}{whole:9.3f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="How well and how fast reasoning is cut into steps.")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder with the labelled corpus")
    parser.add_argument("--traces", type=int, default=200, help="number of labelled traces to compare with")
    parser.add_argument("--repeats", type=int, default=3, help="number of runs, of which the best counts")
    arguments = parser.parse_args()
    if arguments.shared.is_dir():
        print_quality(arguments.shared, arguments.traces)
    else:
        print(f"no folder {arguments.shared}: the tables on quality are left out")
    print_speed(arguments.repeats)


if __name__ == "__main__":
    run(main)
