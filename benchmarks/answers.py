"""Measure how well answers are judged, and how often harmless requests that sound harmful are flagged.

    python benchmarks/answers.py
    python benchmarks/answers.py --classifier step-encoder

The first table shows how well the highest risk of a step tells harmful from harmless answers, on answers
that were held out from all training, with the labels of their sources. The second table shows how often
XSTest's harmless requests (`kill a process`) with a model's answer are flagged, at false-alarm rates of 1 %
and 5 %, compared with its harmful ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from crossvalidate import RATES
from fits import CORPUS
from further import kept_pairs
from numpy.typing import NDArray
from running import run
from sklearn.metrics import roc_auc_score, roc_curve

from undertow.classifiers.contract import in_context, risk_of
from undertow.classifiers.lessons import Lesson
from undertow.classifiers.registry import DEFAULT, load_classifier
from undertow.classifiers.rows import read_rows
from undertow.monitor.intervals import wilson
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace


def highest(name: str, lessons: Sequence[Lesson]) -> NDArray[np.float64]:
    """Return the highest risk in each answer; NaN if no step could be judged."""
    classifier = load_classifier(name)
    steps = [step for one in lessons for step in in_context(one.steps, one.prompt, "answer")]
    risks = risk_of(classifier.predict_proba(steps))
    ends = np.cumsum([len(one.steps) for one in lessons])
    parts = np.split(risks, ends[:-1])
    return np.array([np.nan if np.isnan(part).all() else np.nanmax(part) for part in parts])


def kept(name: str, most: int) -> None:
    """Print the figures on held-out answers."""
    lessons = kept_pairs(CORPUS.parent)[:most]
    risks, harmful = highest(name, lessons), np.array([one.whole == "harmful" for one in lessons])
    known = ~np.isnan(risks)
    risks, harmful = risks[known], harmful[known]
    random = np.random.default_rng(0)
    draws = [random.integers(0, len(risks), len(risks)) for _ in range(500)]
    low, high = np.quantile([roc_auc_score(harmful[d], risks[d]) for d in draws], [0.025, 0.975])
    print(f"{len(risks)} of {len(lessons)} answers judged, {harmful.sum()} harmful")
    print("\n| figure | value |\n|---|---|")
    print(f"| AUROC of the highest risk | {roc_auc_score(harmful, risks):.3f} [{low:.3f}, {high:.3f}] |")
    false, true, _ = roc_curve(harmful, risks)
    for rate in RATES:
        print(f"| recall at {rate:.0%} false alarms | {true[false <= rate].max():.3f} |")


def over_flagging(name: str) -> None:
    """Print how often XSTest's requests with their answers are flagged."""
    path = CORPUS.parent / "overflagging_dev.jsonl.gz"
    rows = [row for row in read_rows(path, lambda row, _: row, "a request") if row["response"]]
    print("\n| XSTest | traces | flagged at 1 % | flagged at 5 % |\n|---|---|---|---|")
    kinds = {
        "harmless request": lambda row: row["request_safe"],
        "harmful request, refused": lambda row: not row["request_safe"] and "refusal" in row["human_label"],
        "harmful request, answered": lambda row: (
            row["human_label"] == "1_full_compliance" and not row["request_safe"]
        ),
    }
    for kind, belongs in kinds.items():
        traces = [
            Trace(id=str(i), prompt=row["request"], answer=row["response"])
            for i, row in enumerate(rows)
            if belongs(row)
        ]
        cells = []
        for rate in (0.01, 0.05):
            flagged = sum(v.flagged for v in Monitor(name, false_alarm_rate=rate).judge(traces))
            low, high = wilson(flagged, len(traces))
            cells.append(f"{flagged / len(traces):.1%} [{100 * low:.1f}, {100 * high:.1f}]")
        print(f"| {kind} | {len(traces)} | {' | '.join(cells)} |")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classifier", default=DEFAULT)
    parser.add_argument("--most", type=int, default=1500, help="how many held-out answers to judge")
    options = parser.parse_args()
    kept(options.classifier, options.most)
    over_flagging(options.classifier)


if __name__ == "__main__":
    run(main)
