"""`undertow study`: the questions that the monitor is for, each ending in a table and a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..classifiers.registry import DEFAULT
from ..errors import UsageError
from ..monitor.replacing import must_be_folder
from .common import given, mapping_of, needing, writable
from .options import FalseAlarmRate, Map
from .sdd import sdd

if TYPE_CHECKING:
    from ..monitor.monitor import Monitor
    from ..studies.amplification.load import Judged
    from ..studies.amplification.page import Page

__all__ = ["study"]

study = typer.Typer(
    help="Studies: does reasoning amplify harm, and does a defence hold?", no_args_is_help=True
)
study.add_typer(sdd, name="sdd")


@study.callback()
def _study() -> None:
    """Hold the studies together."""


@study.command()
def amplification(
    context: typer.Context,
    data: Annotated[
        list[str] | None, typer.Argument(metavar="DATA", help="Transcripts, as for `undertow audit`.")
    ] = None,
    *,
    design: Annotated[
        Path | None,
        typer.Option(metavar="FILE.yaml", help="The meaning of the fields, the margin, and the cells."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write study.json, study.html and the figures here.")
    ] = None,
    prefixes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Traces with an answer forced after each prefix (.jsonl, .jsonl.gz)."
        ),
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Verdicts that an audit of DATA saved; nothing is judged again."),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The classifier, as in an audit; `none` uses labels alone."),
    ] = None,
    false_alarm_rate: FalseAlarmRate = 0.05,
    map: Map = None,
    attribute: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Attribute the answer's risk to steps, for N flagged generations."
        ),
    ] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the mixed-effects models.")] = False,
) -> None:
    """Test on transcripts whether the chain of thought amplifies harm.

    The outcome is one of three: the data support the claim, refute it, or leave it open.
    """
    if not data and prefixes is None:
        raise UsageError("nothing to study: give transcripts, or --prefixes, or both")
    if attribute and (verdicts or classifier == "none" or not data):
        raise UsageError("--attribute takes transcripts and what judges them: no --verdicts, no `none`")
    if verdicts:
        _must_be_saved(context, data)
    from ..studies.amplification import report, study
    from ..studies.amplification.attributed import Flagged, keep_flagged
    from ..studies.amplification.design import read_design
    from ..studies.amplification.dose import read_prefixes
    from ..studies.amplification.load import load

    set_down = read_design(design)
    if out is not None:
        must_be_folder(out)
    traces = read_prefixes(prefixes) if prefixes else []
    judged = None if verdicts else _monitor(classifier, false_alarm_rate)
    kept: list[Flagged] = []
    table = None
    if data:
        pairs = keep_flagged(_judged(data, judged, verdicts, map or ()), kept, attribute)
        table = load(pairs, set_down)
    page = study.study(table, set_down, traces, judged, kept, quick=quick)
    report.show(page)
    if attribute and not kept:
        typer.echo("nothing to attribute: no generation was flagged in reasoning and answer", err=True)
    if out is not None:
        _write(page, out)


def _must_be_saved(context: typer.Context, data: Iterable[str] | None) -> None:
    """Raise a UsageError if saved verdicts are given together with something that they leave unused."""
    if not data:
        raise UsageError("--verdicts are those of transcripts: give these too")
    for name in ("classifier", "false_alarm_rate"):
        if given(context, name):
            option = name.replace("_", "-")
            raise UsageError(f"with --verdicts nothing is judged again: leave out --{option}, or --verdicts")


def _write(page: Page, out: Path) -> None:
    from ..studies.amplification import report

    with writable():
        typer.echo(f"written to {out}: {', '.join(path.name for path in report.write(page, out))}")


def _monitor(classifier: str | None, rate: float) -> Monitor | None:
    """Return what judges; without a name the monitor's own default."""
    if classifier == "none":
        return None
    from ..monitor.monitor import Monitor

    return Monitor(classifier or DEFAULT, false_alarm_rate=rate)


def _judged(
    data: Iterable[str], monitor: Monitor | None, verdicts: Path | None, pairs: Iterable[str]
) -> Iterator[Judged]:
    """Read the transcripts, with the verdicts that there are or that the monitor gives."""
    from ..monitor.audit import read
    from ..studies.amplification.saved import saved_verdicts, with_saved

    records = read(data, mapping=mapping_of(list(pairs)))
    if monitor is not None:
        return iter(monitor.judge_pairs(records))
    return with_saved(records, saved_verdicts(verdicts) if verdicts else {})


@study.command()
def finetuning(
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Write everything here; what exists is not made again.")
    ] = Path("finetuning-study"),
    quick: Annotated[bool, typer.Option("--quick", help="Few seeds and a short sweep: minutes.")] = False,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many organisms to train from scratch.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes; by default one per core.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Attack a harmless model organism by fine-tuning, with and without Self-Degraded Defense.

    Trains everything from nothing, and ends in checks that were set down beforehand.
    """
    must_be_folder(out)
    with needing("the study of fine-tuning", "finetuning"):
        from ..studies.amplification import report
        from ..studies.finetuning.study import recipe_for, study

    recipe = recipe_for(quick=quick, seeds=seeds)
    with writable():
        page = study(recipe, out, workers=workers, device=device, say=lambda text: typer.echo(text, err=True))
    report.show(page)
    _write(page, out)


@study.command()
def plan(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Write the plan and its script here.")],
    design: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="The cells and the margin that you want.")
    ] = None,
    more: Annotated[
        float, typer.Option(metavar="SHARE", help="Prompts you expect to be harmed with reasoning only.")
    ] = 0.15,
    less: Annotated[
        float, typer.Option(metavar="SHARE", help="Prompts you expect to be harmed without reasoning only.")
    ] = 0.05,
    power: Annotated[float, typer.Option(metavar="POWER", help="The power that you want.")] = 0.8,
) -> None:
    """Plan a study: its cells, the number of prompts, and a script that makes the calls."""
    from rich.console import Console

    from ..studies.amplification.design import read_design
    from ..studies.amplification.plan import plan_page, write_plan
    from ..studies.amplification.report import show

    wished = read_design(design)
    page = plan_page(wished, more=more, less=less, power=power)
    written = write_plan(wished, out)
    show(page, Console(highlight=False))
    typer.echo(f"written to {out}: {', '.join(path.name for path in written)}")
