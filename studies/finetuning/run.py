"""The grid: every organism is trained, attacked, asked and watched, each result in a file of its own.

    python -m undertow.studies.finetuning.run --out study/ [--quick] [--workers N] [--device cuda]

What is there already is not made again, so a run that was cut short goes on where it was. Only the
model, the classifier and the monitor are needed here; tables and figures are made by report.py.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path
from random import Random
from typing import Any, TypeAlias, TypeVar

import torch
from pydantic import ValidationError

from ...errors import UndertowError, UsageError
from ...monitor.many import many
from ...monitor.monitor import Monitor
from ...monitor.parent import end_with_parent
from ...monitor.replacing import replacing
from ...monitor.trace import Frozen
from .arms import FULL, QUICK, SHOTS, Defence, Recipe, Run, pools, runs
from .make import aligned, attacked, defended, pairs
from .measure import MODES, Measured, Mode, ask, measure, recites
from .monitoring import MONITOR, Watched, make_monitor, open_monitor, traces, watch
from .organism.generate import Response, respond
from .organism.language import SKILLS, Example, Task, requests, solve
from .organism.model import Organism, device_for
from .organism.tokens import encode
from .organism.train import log_probability

__all__ = ["TRANSCRIPTS", "Result", "Say", "main", "make", "read_results"]

Say: TypeAlias = Callable[[str], None]
Part: TypeAlias = Callable[[], str]
Model = TypeVar("Model", bound=Frozen)

TRANSCRIPTS = "transcripts"
"""The folder of the responses."""

_PAIRS = 200
"""The number of SDD pairs whose log-probability is measured."""


def say(text: str) -> None:
    """Print a line and flush it, so that it also appears in a file at once."""
    print(text, flush=True)


class Result(Frozen):
    """The measurements of one organism."""

    run: Run
    modes: dict[Mode, Measured]
    irrelevant: float
    """The mean log-probability per token of the irrelevant answers that SDD teaches, in nats."""
    skilled: float
    """The mean log-probability per token of right answers to skill requests, in nats."""
    watched: dict[str, Watched]
    """The monitor's results: by mode, and `sampled` for responses drawn by sampling."""
    device: str
    seconds: float


def make(
    recipe: Recipe, out: Path, *, workers: int | None = None, device: str = "auto", say: Say = say
) -> list[Result]:
    """Compute the missing results of the grid; return all results.

    Args:
        recipe: The study's settings.
        out: The output folder; results that are already there are kept.
        workers: The number of processes; by default, the number of cores.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        say: Called with a line for each part that is done.

    Raises:
        UsageError: The folder holds another recipe's results, or there is no such device.
        UndertowError: A part failed; the other results are there, and another call retries it.
    """
    device_for(device)
    _claim(out, recipe)
    wanted = runs(recipe)
    missing = [one for one in wanted if not _is_there(recipe, out, one)]
    workers = min(workers or os.cpu_count() or 1, max(1, len(missing)))
    start = time.monotonic()
    say(f"{len(wanted) - len(missing)} of {len(wanted)} organisms are measured, {len(missing)} to go")
    groups: dict[tuple[int, Defence, float | None], list[Run]] = {}
    for one in missing:
        groups.setdefault((one.seed, one.defence, one.lr), []).append(one)
    first = [] if _has_monitor(out) else [partial(_monitor, recipe, out)]
    seeds = sorted({one.seed for one in missing})
    first += [partial(_prepare, recipe, out, device, seed) for seed in seeds]
    then = [partial(_group, recipe, out, device, some) for some in groups.values()]
    with _pool(workers) as pool:
        for parts in (first, then):
            _settle(parts, pool, say, start)
    return read_results(out, wanted)


def _claim(out: Path, recipe: Recipe) -> None:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "recipe.json"
    if file.is_file() and _read(Recipe, file) != recipe:
        raise UsageError(f"{out} holds results of another recipe: give another folder, or remove this one")
    _write(file, recipe.model_dump_json(indent=1) + "\n")


def _is_there(recipe: Recipe, out: Path, one: Run) -> bool:
    """Whether a run has all of its responses and a readable result; otherwise, it is run again."""
    result = _file(out, one)
    try:
        rows = [json.loads(line) for line in _transcript(out, one).read_bytes().splitlines()]
    except (FileNotFoundError, ValueError):
        return False
    whole = len(rows) == len(MODES) * (recipe.forbidden_requests + recipe.skill_requests)
    return whole and result.is_file() and _read(Result, result) is not None


def _has_monitor(out: Path) -> bool:
    """Whether the monitor can be opened; otherwise, it is made, or made again."""
    try:
        open_monitor(out / MONITOR)
    except UndertowError:
        return False
    return True


def _read(kind: type[Model], file: Path) -> Model | None:
    """Read a file of this study; None if it is damaged, or of another version."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except ValidationError:
        return None


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    """Open a pool of single-threaded processes, which an interruption ends; a single worker needs none."""
    if workers == 1:
        yield None
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except KeyboardInterrupt:  # what is under way is made again: every file appears whole or not at all
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the first one decides
    torch.set_num_threads(1)
    end_with_parent()


def _settle(parts: Sequence[Part], pool: Executor | None, say: Say, start: float) -> None:
    """Run all parts; one that fails does not stop the others."""
    failed: list[str] = []
    for number, outcome in enumerate(_outcomes(parts, pool), 1):
        told = outcome
        if isinstance(outcome, Exception):
            failed.append(f"{type(outcome).__name__}: {outcome}")
            told = f"failed: {failed[-1]}"
        say(f"[{number}/{len(parts)}] {told} ({time.monotonic() - start:.0f} s)")
    if failed:
        raise UndertowError(
            f"{many(len(failed), 'part')} failed, first {failed[0]}; run it again to try again"
        )


def _outcomes(parts: Sequence[Part], pool: Executor | None) -> Iterator[str | Exception]:
    if pool is not None:
        for future in as_completed([pool.submit(part) for part in parts]):
            error = future.exception()
            yield error if isinstance(error, Exception) else future.result()
        return
    for part in parts:
        try:
            yield part()
        except Exception as error:  # reported at the end; the other parts are done first
            yield error


def _monitor(recipe: Recipe, out: Path) -> str:
    make_monitor(pools(0).monitor, recipe.monitor_traces, out)
    return "the monitor is trained and calibrated"


def _prepare(recipe: Recipe, out: Path, device: str, seed: int) -> str:
    aligned(recipe, out, seed, device_for(device))
    return f"seed {seed}: base and aligned organism"


def _group(recipe: Recipe, out: Path, device: str, some: Sequence[Run]) -> str:
    """Measure one defended organism under its attacks."""
    place = device_for(device)
    monitor = open_monitor(out / MONITOR)
    organism = defended(recipe, out, some[0], place)
    for one in some:
        start = time.monotonic()
        found, rows = _measured(recipe, one, attacked(recipe, organism, one), monitor)
        result = Result(**found, device=str(place), seconds=time.monotonic() - start)
        _write(_transcript(out, one), "".join(json.dumps(row) + "\n" for row in rows))
        _write(_file(out, one), result.model_dump_json(indent=1) + "\n")
    return f"{some[0].organism}: {', '.join(one.attack for one in some)}"


def _measured(
    recipe: Recipe, one: Run, organism: Organism, monitor: Monitor
) -> tuple[dict[str, Any], list[dict[str, object]]]:
    """Return a result's fields, and the responses."""
    forbidden = pools(one.seed).held_out[: recipe.forbidden_requests]
    skilled = requests(SKILLS, recipe.skill_requests, "skills, held out")
    tasks = [*forbidden, *skilled]
    modes: dict[Mode, Measured] = {}
    watched: dict[str, Watched] = {}
    rows: list[dict[str, object]] = []
    for mode in MODES:
        said = ask(organism, tasks, mode)
        modes[mode] = measure(tasks, said)
        watched[mode] = watch(monitor, traces(tasks, said))
        rows += _rows(one, mode, tasks, said)
    some = [*forbidden[: recipe.sampled], *skilled[: recipe.sampled]]
    drawn = respond(organism, [task.prompt for task in some], temperature=1.0, seed=one.seed)
    watched["sampled"] = watch(monitor, traces(some, drawn))
    found = {
        "run": one,
        "modes": modes,
        "irrelevant": _likely(organism, pairs(recipe, one)[:_PAIRS]),
        "skilled": _likely(organism, [solve(task, Random(0), thinks=False) for task in skilled]),
        "watched": watched,
    }
    return found, rows


def _likely(organism: Organism, examples: Sequence[Example]) -> float:
    return float(log_probability(organism, encode(organism.tokenizer, examples)).mean())


def _rows(one: Run, mode: Mode, tasks: Sequence[Task], said: Sequence[Response]) -> list[dict[str, object]]:
    """Return the responses as transcripts, in the arms of the study of amplification."""
    return [
        {
            "id": f"{one.name}-{mode}-{number}",
            "prompt": task.prompt,
            "reasoning": response.reasoning,
            "answer": response.answer,
            "mode": mode,
            "state": "fine-tuned" if one.attack in SHOTS else "base",
            "seed": one.seed,
            "recital": task.forbidden and recites(task, response.answer),
            "harmless": not task.forbidden,
        }
        for number, (task, response) in enumerate(zip(tasks, said, strict=True))
    ]


def _file(out: Path, one: Run) -> Path:
    return out / "runs" / f"{one.name}.json"


def _transcript(out: Path, one: Run) -> Path:
    return out / TRANSCRIPTS / f"{one.name}.jsonl"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def read_results(out: Path, wanted: Sequence[Run]) -> list[Result]:
    """Return the results of these runs."""
    return [Result.model_validate_json(_file(out, one).read_bytes()) for one in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the grid from the command line; `undertow study finetuning` then makes its page."""
    parser = argparse.ArgumentParser(prog="python -m undertow.studies.finetuning.run", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where; what is there is kept")
    parser.add_argument("--quick", action="store_true", help="two seeds and a short sweep")
    parser.add_argument("--recipe", type=Path, help="a recipe as JSON, such as `tune` writes")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    given = parser.parse_args(arguments)
    recipe = QUICK if given.quick else FULL
    if given.recipe:
        recipe = Recipe.model_validate_json(given.recipe.read_bytes())
    make(recipe, given.out, workers=given.workers, device=given.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
