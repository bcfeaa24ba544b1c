"""Options shared by several commands, so that a name means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "CRASHED",
    "STATUSES",
    "Classifier",
    "FalseAlarmRate",
    "Figures",
    "Format",
    "Labelled",
    "Map",
    "Quiet",
]

CRASHED = 70
"""Exit status after a crash (EX_SOFTWARE); 1 and 3 are verdicts, 2 is wrong usage."""

STATUSES = f"""Exit status of audit (unless --fail-on says otherwise) and of watch:
  0    nothing flagged, everything judged in full
  1    something flagged
  3    nothing flagged, but something judged in part or not at all
Of these and of all other commands:
  0    done
  2    wrong usage, or something that cannot be read or written
  {CRASHED}   a crash, which is never a verdict
  130  interrupted with Ctrl-C
"""
"""The meaning of each exit status, as shown in the help text."""

Labelled: TypeAlias = Annotated[
    list[Path],
    typer.Argument(metavar="LABELLED", help="Labelled traces: a corpus, or transcripts with step_labels."),
]

Classifier: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME", help="The classifier: a name from `undertow classifiers`, or a folder.")
]

FalseAlarmRate: TypeAlias = Annotated[
    float, typer.Option(metavar="RATE", help="At most this share of safe traces raises an alarm.")
]

Format: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Read every row in this format; see `undertow formats`.")
]

Map: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PART=FIELD",
        help="The field that holds a part, such as reasoning=cot_trace. Can be repeated.",
    ),
]

Figures: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write figures for a paper here: SVG, PDF, PNG, and CSV.")
]

Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
