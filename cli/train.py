"""`undertow train`: train a classifier on labelled steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import mapping_of, writable
from .options import Format, Labelled, Map, Quiet
from .progress import bar

__all__ = ["train"]


def train(
    paths: Labelled,
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="The classifier's folder; an interrupted run resumes.")
    ],
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="lexical (minutes, no extra) or encoder (needs `train`).")
    ] = "lexical",
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its name in verdicts; by default the folder's."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=0, metavar="N", help="Folds for its figures and its threshold; 0 for none.")
    ] = 5,
    format: Format = None,
    map: Map = None,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on labelled steps.

    The folder will contain weights, calibration and card, and can be given
    wherever a classifier is named. The encoder uses a GPU if torch finds one.
    """
    from ..monitor.labelled import read_traces
    from ..monitor.making import make_classifier

    traces = read_traces(paths, format=format, mapping=mapping_of(map or ()))
    with bar(shown=not quiet) as show, writable():
        progress = show or (lambda _what, _done, _total: None)
        classifier = make_classifier(kind, traces, out, name=name, folds=folds, progress=progress)
    if not quiet:
        typer.echo(f"{classifier.name} {classifier.digest}")
        typer.echo(f"written to {out}: read {out / 'card.md'} first")
