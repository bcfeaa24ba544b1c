"""Options that several commands have, each in one place: the same name means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = ["Classifier", "FalseAlarmRate", "Figures", "Format", "Labelled", "Map", "Quiet"]

Labelled: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="LABELLED", help="Labelled traces: a corpus, or transcripts with step_labels."),
]

Classifier: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="What judges the steps: see `undertow classifiers`, or a folder.")
]

FalseAlarmRate: TypeAlias = Annotated[
    float, typer.Option(metavar="RATE", help="The share of safe traces that may raise an alarm, at most.")
]

Format: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="The format, if detection errs: see `undertow formats`.")
]

Map: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PART=FIELD", help="Where a part stands, such as reasoning=cot_trace. Can be repeated."
    ),
]

Figures: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Put figures for a paper here: SVG, PDF, PNG, and CSV.")
]

Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
