"""`undertow train`: labelled steps in, a classifier's folder out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import mapping_of, writable
from .options import Format, Labelled, Map, Quiet

if TYPE_CHECKING:
    from ..classifiers.recipes import Progress

__all__ = ["train"]


def train(
    paths: Labelled,
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The classifier's folder; a run that broke off resumes.")
    ],
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="lexical (minutes, no extra) or encoder (needs `train`).")
    ] = "lexical",
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its name in verdicts; that of the folder if not given."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Folds for its figures and its threshold; 0 for none.")
    ] = 5,
    format: Format = None,
    map: Map = None,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on labelled steps.

    The folder holds its weights, its calibration and its card in the end; name it wherever a
    classifier is asked for. The network uses a GPU where torch finds one.
    """
    from ..monitor.labelled import read_traces
    from ..monitor.making import make_classifier

    traces = read_traces(paths, format=format, mapping=mapping_of(map or ()))
    with _bar(shown=not quiet) as progress, writable():
        classifier = make_classifier(kind, traces, out, name=name, folds=folds, progress=progress)
    if not quiet:
        typer.echo(f"{classifier.name} {classifier.digest}")
        typer.echo(f"written to {out}: read {out / 'card.md'} first")


@contextmanager
def _bar(*, shown: bool) -> Iterator[Progress]:
    """Show how far it is on standard error, where there is a terminal to show it on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield lambda _what, _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
