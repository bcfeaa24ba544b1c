"""Measure what a model can still do: tasks of lm-evaluation-harness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....classifiers.hub import load
from ....errors import MissingExtra, UsageError
from ...amplification.estimate import Estimate

__all__ = ["Score", "capability", "must_exist"]


@dataclass(frozen=True, slots=True)
class Score:
    """A model's score in a task."""

    task: str
    metric: str
    value: Estimate


def capability(
    model: str,
    tasks: Sequence[str],
    *,
    folder: Path | None = None,
    limit: int | None = None,
    batch: int = 8,
) -> list[Score]:
    """Run tasks of lm-evaluation-harness on a model.

    Args:
        model: A folder, or `org/name@revision`.
        tasks: Names of tasks, such as `mmlu` and `openbookqa`, which the paper used.
        folder: A folder with definitions of your own tasks; the harness's tasks are then searched only
            if a name is not among yours.
        limit: The maximum number of questions per task.
        batch: The number of questions at once.

    Raises:
        MissingExtra: The harness is not installed.
        UsageError: A task does not exist.
        WeightsError: The model does not exist.
    """
    known = must_exist(tasks, folder)
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    place, _, revision = model.partition("@")
    body, tokenizer = load("AutoModelForCausalLM", place, revision or None)
    found = lm_eval.simple_evaluate(
        model=HFLM(pretrained=body, tokenizer=tokenizer, batch_size=batch),
        tasks=list(tasks),
        task_manager=known,
        limit=limit,
        bootstrap_iters=1000,
        verbosity="ERROR",
    )
    counts = found.get("n-samples", {})
    return [score for task in tasks for score in _scores(task, found["results"][task], counts.get(task, {}))]


def must_exist(tasks: Sequence[str], folder: Path | None = None) -> Any:
    """Return the harness's manager of these tasks, or say which is missing, before hours of generation.

    Raises:
        MissingExtra: The harness is not installed.
        UsageError: A task does not exist.
    """
    try:
        import lm_eval.models.huggingface  # noqa: F401  (needs more than the tasks do)
        from lm_eval.tasks import TaskManager as make
    except ImportError as error:
        raise MissingExtra("measuring capability", "sdd") from error
    own = make(include_path=str(folder), include_defaults=False) if folder else None
    if own is not None and set(tasks) <= set(own.all_tasks):
        return own
    known = make(include_path=str(folder) if folder else None)
    if missing := sorted(set(tasks) - set(known.all_tasks)):
        raise UsageError(
            f"lm-evaluation-harness has no task {', '.join(missing)}: `lm-eval ls tasks` lists them"
        )
    return known


def _scores(task: str, result: dict[str, Any], counts: dict[str, int]) -> Iterator[Score]:
    """Yield the metrics of a task, each with an interval from its standard error."""
    for key, value in result.items():
        metric, _, how = key.partition(",")
        if not isinstance(value, float) or metric.endswith("_stderr") or not how:
            continue
        error = result.get(f"{metric}_stderr,{how}")
        half = 1.96 * error if isinstance(error, float) else float("inf")
        method = "normal, the harness's standard error" if half < float("inf") else "no standard error"
        n = int(counts.get("effective", 0))
        yield Score(task, metric, Estimate(value, value - half, value + half, method, n))
