"""Compare classifiers on torch with the same on onnxruntime: risks, flags and time on labelled traces.

    python benchmarks/agreement.py
    python benchmarks/agreement.py --device cuda

Judges the same traces twice in this process, on one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from fits import CORPUS
from running import run

from undertow.classifiers.corpus import LabelledTrace, read_labelled
from undertow.classifiers.registry import load_classifier
from undertow.classifiers.threads import limit_threads
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace
from undertow.monitor.verdict import TraceVerdict


def to_be_judged(trace: LabelledTrace) -> Trace:
    """Return a labelled trace as a monitor reads it, up to its last labelled step."""
    reasoning = trace.reasoning[: trace.units[-1][1]]
    return Trace(id=trace.id, prompt=trace.prompt, reasoning=reasoning, answer=trace.answer or None)


def judged(name: str, device: str | None, traces: list[Trace]) -> tuple[list[TraceVerdict], float]:
    """Return the verdicts, and the CPU seconds per step."""
    monitor = Monitor(load_classifier(name, device))
    begin = time.process_time()
    verdicts = list(monitor.judge(traces))
    return verdicts, (time.process_time() - begin) / sum(len(verdict.steps) for verdict in verdicts)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--most", type=int, default=120)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    limit_threads(1)
    labelled = read_labelled(options.corpus)
    chosen = np.random.default_rng(1).permutation(len(labelled))[: options.most]
    traces = [to_be_judged(labelled[index]) for index in chosen]
    # The encoder first: within the ensemble, the shipped one would answer from its cache.
    for name in ("step-encoder", "step-ensemble"):
        (shipped, before), (on_torch, after) = (
            judged(name, where, traces) for where in (None, options.device)
        )
        risks = [[s.risk for v in verdicts for s in v.steps] for verdicts in (shipped, on_torch)]
        first, second = (np.array(some, float) for some in risks)
        apart = np.abs(first - second)
        apart, sides = apart[~np.isnan(apart)], ((first > 0.5) == (second > 0.5))
        alike = sum(one.flagged == two.flagged for one, two in zip(shipped, on_torch, strict=True))
        print(f"{name} on {options.device}: {len(apart)} steps of {len(traces)} traces")
        print(f"  difference in risk: mean {apart.mean():.3f}, 95 % within {np.quantile(apart, 0.95):.3f}, "
              f"99 % within {np.quantile(apart, 0.99):.3f}, maximum {apart.max():.3f}")  # fmt: skip
        print(f"  on the same side of 0.5: {sides.mean():.1%}")
        print(f"  same flag, at 5 %: {alike} of {len(traces)}")
        print(f"  CPU ms per step: {1000 * before:.1f} as shipped, {1000 * after:.1f} on torch")


if __name__ == "__main__":
    run(main)
