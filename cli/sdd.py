"""`undertow study sdd`: Self-Degraded Defense for a real model, in three steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..monitor.many import many
from ..monitor.replacing import must_be_folder
from .common import must_be_file, needing, writable
from .options import FalseAlarmRate

if TYPE_CHECKING:
    from ..monitor.monitor import Monitor

__all__ = ["sdd"]

sdd = typer.Typer(
    help="Self-Degraded Defense: build pairs, train, and measure harm and capability.",
    no_args_is_help=True,
)

_SOURCE = "A file of rows (JSON, CSV, Parquet, …), or hf:org/name@revision#split."

PromptField = Annotated[
    str | None, typer.Option(metavar="FIELD", help="The field that holds the prompt, if not found.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=VALUE", help="Use only these rows, such as is_safe=false. Can be repeated."),
]


@sdd.command()
def build(
    *,
    prompts: Annotated[list[str], typer.Option(metavar="SOURCE", help="Harmful prompts. " + _SOURCE)],
    responses: Annotated[
        list[str], typer.Option(metavar="SOURCE", help="Good responses to other prompts. " + _SOURCE)
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write pairs.jsonl and build.json here.")],
    prompt_field: PromptField = None,
    category_field: Annotated[
        str, typer.Option(metavar="FIELD", help="The field that holds the prompt's category.")
    ] = "category",
    response_field: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The field that holds the response, if not found.")
    ] = None,
    where: Where = None,
    count: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most this many prompts, balanced over categories.")
    ] = 8000,
    threshold: Annotated[
        float, typer.Option(metavar="COSINE", help="The largest similarity that counts as irrelevant.")
    ] = 0.25,
    tries: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most this many responses drawn per prompt.")
    ] = 50,
    encoder: Annotated[
        str, typer.Option(metavar="NAME", help="auto, tfidf, or a sentence encoder: org/name@revision.")
    ] = "auto",
    refusal: Annotated[bool, typer.Option("--refusal", help="Begin each response with a refusal.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of the draws.")] = 0,
) -> None:
    """Pair harmful prompts with good responses that have nothing to do with them."""
    from ..studies.finetuning.sdd.build import PAIRS, Plan, build, write_pairs
    from ..studies.finetuning.sdd.similarity import embedding
    from ..studies.finetuning.sdd.sources import prompts_of, responses_of

    if not -1 <= threshold <= 1:
        raise UsageError(f"a cosine lies between -1 and 1, not {threshold}")
    plan = Plan(count=count, threshold=threshold, tries=tries, refusal=refusal, seed=seed)
    condition = _condition(where)
    must_be_folder(out)
    for written in (out / PAIRS, out / "build.json"):
        if written.exists():
            must_be_file(written, [one for one in (*prompts, *responses) if not one.startswith("hf:")])
    asked, no_prompt = prompts_of(prompts, field=prompt_field, category=category_field, where=condition)
    said, no_response = responses_of(responses, field=response_field)
    name, embed = embedding(encoder)
    aside = {"prompts": no_prompt, "responses": no_response}
    with writable():
        facts = write_pairs(build(asked, said, plan, embed), plan, name, aside, out)
    typer.echo(
        f"{many(facts['pairs'], 'pair')} over {many(len(facts['categories']), 'category', 'categories')}, "
        f"{many(facts['different_responses'], 'response')}; "
        f"cosine {facts['mean_similarity']:.3f} on average by {name}, "
        f"{facts['fallbacks']} above {threshold:g}"
    )
    _say_aside(aside)
    typer.echo(f"written to {out}")


def _say_aside(aside: Mapping[str, Mapping[str, int]]) -> None:
    for what, reasons in aside.items():
        for reason, number in reasons.items():
            typer.echo(f"{what} set aside: {reason} ({number:,})", err=True)


@sdd.command()
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder, or org/name@revision.")],
    *,
    pairs: Annotated[Path, typer.Option(metavar="PATH", help="What `undertow study sdd build` wrote.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the trained model.")],
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="paper (learning rate 5e-7) or replication (2e-5).")
    ] = "paper",
    lr: Annotated[float | None, typer.Option(metavar="RATE", help="Another learning rate.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Another number of steps.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Another number of pairs per step.")
    ] = None,
    at_once: Annotated[int | None, typer.Option(min=1, metavar="N", help="Pairs per device at once.")] = None,
    longest: Annotated[
        int | None, typer.Option(min=8, metavar="N", help="At most this many tokens per pair.")
    ] = None,
    lora: Annotated[
        int, typer.Option(min=0, metavar="RANK", help="Train adapters of this rank; 0 trains all weights.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="The seed of the order.")] = 0,
) -> None:
    """Train the defence into a model: it learns the pairs' responses, by the published recipe."""
    from ..studies.finetuning.sdd.build import read_pairs
    from ..studies.finetuning.sdd.train import RECIPES, Recipe, train

    if recipe not in RECIPES:
        raise UsageError(f"a recipe is one of {', '.join(RECIPES)}, not {recipe!r}")
    if lr is not None and not 0 < lr < inf:
        raise UsageError(f"a learning rate is a number above 0, not {lr}")
    changed = {"lr": lr, "steps": steps, "batch": batch, "at_once": at_once, "longest": longest}
    given = {name: value for name, value in changed.items() if value is not None}
    must_be_folder(out)
    asked = Recipe.model_validate(RECIPES[recipe].model_dump() | given | {"lora": lora, "seed": seed})
    with writable():
        facts = train(
            model,
            read_pairs(pairs),
            asked,
            out,
            lambda step, of, loss: typer.echo(f"step {step} of {of}: loss {loss:.3f}", err=True),
        )
    typer.echo(
        f"{many(facts['pairs'], 'pair')}, {facts['left_out']:,} left out; "
        f"loss {facts['loss_before']:.3f} before, {facts['loss_after']:.3f} after"
    )
    typer.echo(f"written to {out}")


@sdd.command()
def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="Folders, or org/name@revision; the others are compared with the first."
        ),
    ],
    *,
    prompts: Annotated[list[str], typer.Option(metavar="SOURCE", help="The prompts to ask. " + _SOURCE)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the page and the responses here.")],
    classifier: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A classifier that judges, or a guard. Can be repeated."),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="From `undertow calibrate`, for a classifier without one. Can be repeated."
        ),
    ] = None,
    false_alarm_rate: FalseAlarmRate = 0.05,
    prompt_field: PromptField = None,
    where: Where = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most this many prompts.")] = None,
    tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most this many tokens per response.")
    ] = 512,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Prompts at once.")] = 8,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A task of lm-evaluation-harness. Can be repeated."),
    ] = None,
    task_folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that describes your own tasks.")
    ] = None,
    task_limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most this many questions per task.")
    ] = None,
) -> None:
    """Ask models, judge their responses, and measure their capability."""
    with needing("measuring SDD", "sdd"):
        from ..studies.amplification import report
    from ..studies.finetuning.sdd.build import choose
    from ..studies.finetuning.sdd.capability import Score, capability, must_exist
    from ..studies.finetuning.sdd.evaluate import evaluate
    from ..studies.finetuning.sdd.sources import prompts_of

    def scores(model: str) -> list[Score]:
        return capability(model, task or (), folder=task_folder, limit=task_limit, batch=batch)

    must_be_folder(out)
    if task:
        must_exist(task, task_folder)
    judges = _judges(classifier, calibration or (), false_alarm_rate)
    asked, aside = prompts_of(prompts, field=prompt_field, where=_condition(where))
    _say_aside({"prompts": aside})
    with writable():
        page = evaluate(
            models,
            choose(asked, limit or len(asked), 0),
            judges,
            out,
            tokens=tokens,
            batch=batch,
            measure=scores if task else None,
        )
        report.show(page)
        typer.echo(f"written to {out}: {', '.join(path.name for path in report.write(page, out))}")


def _condition(pairs: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs or ():
        field, _, value = pair.partition("=")
        if not (field and value):
            raise UsageError(f"--where takes FIELD=VALUE, such as is_safe=false, not {pair!r}")
        if field in found:
            raise UsageError(f"--where gives {field} twice, and no row has both {found[field]} and {value}")
        found[field] = value
    return found


def _judges(names: list[str] | None, calibrations: Iterable[Path], rate: float) -> dict[str, Monitor]:
    """Return what judges, each under its own name; under the one given where two have the same."""
    from ..classifiers.registry import DEFAULT, load_classifier
    from ..monitor.monitor import Monitor

    given = {_digest(path): path for path in calibrations}
    found: dict[str, Monitor] = {}
    for name in names or [DEFAULT]:
        classifier = load_classifier(name)
        monitor = Monitor(classifier, false_alarm_rate=rate, calibration=given.get(classifier.digest))
        found[name if classifier.name in found else classifier.name] = monitor
    if other := sorted(set(given) - {monitor.classifier.digest for monitor in found.values()}):
        raise UsageError(f"{given[other[0]]} is the calibration of no classifier that is named")
    return found


def _digest(calibration: Path) -> str:
    """Return whose a calibration is; the monitor then reads it with care."""
    try:
        return str(json.loads(calibration.read_bytes())["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{calibration} is not a calibration: {error}") from error
