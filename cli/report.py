"""`undertow report`: make an HTML page and figures from saved verdicts."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..errors import UsageError
from ..monitor.many import many
from .common import mapping_of, must_be_page, writable
from .options import Figures, Quiet
from .progress import Progress, counting

if TYPE_CHECKING:
    from ..classifiers.contract import StepClassifier
    from ..monitor.audit import Record
    from ..monitor.labelled import LabelledVerdicts
    from ..monitor.report.plots import Plots
    from ..monitor.verdict import MonitorStamp, TraceVerdict

    _Pair: TypeAlias = tuple[Record, TraceVerdict]

__all__ = ["report"]

_PAGE = Path("report.html")
_REASONS = 5


def report(
    verdicts: Annotated[
        list[Path],
        typer.Argument(metavar="VERDICTS", help="Files that `undertow audit --out` wrote."),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="The report; by default report.html, unless --figures is given."
        ),
    ] = None,
    figures: Figures = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Labelled traces with the same ids: adds `reliability` to --figures."
        ),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Leave text that was not judged safe out of the report, for good."),
    ] = False,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence", help="Ask the classifier which steps and words moved the score of what was flagged."
        ),
    ] = False,
    classifier: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The classifier for --evidence, if its name has changed."),
    ] = None,
    transcripts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Where the transcripts are now, if moved; or their URL. Can be repeated."
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="NAME", help="As given to `undertow audit`, if it was.")
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="PART=FIELD", help="As given to `undertow audit`, if it was."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make an HTML report, and figures, from saved verdicts.

    The texts are read again from the transcripts. If the text of a trace is
    missing, or is no longer the one that was judged, the trace is shown
    without it, with a note.
    """
    page = out or (None if figures else _PAGE)
    options = {
        "redact": redact,
        "evidence": evidence,
        "transcripts": transcripts,
        "format": format,
        "map": map,
    }
    idle = [name for name, asked in options.items() if asked and page is None]
    if idle:
        raise UsageError(
            f"--{idle[0]} is for the page, which --figures alone does not make: give --out as well"
        )
    if classifier and not evidence:
        raise UsageError("--classifier names who is asked for --evidence: give --evidence as well")
    if labels and not figures:
        raise UsageError("--labels is for a figure: give --figures as well")
    if page is not None:
        must_be_page(page)
    from ..monitor.audit.reopen import reopen
    from ..monitor.audit.verdicts import read_verdicts
    from ..monitor.evidence import with_evidence
    from ..monitor.report import write_report
    from ..monitor.report.plots import Plots

    plots = Plots(figures, labelled=_labelled(labels)) if figures else None
    mapping = mapping_of(map or ())
    missing: Counter[str] = Counter()
    written = [] if page is None else [str(page)]
    with counting(shown=not quiet) as advance, writable():
        if page is not None:
            pairs = reopen(verdicts, transcripts=transcripts or (), format=format, mapping=mapping)
            seen = _seen(pairs, missing, advance, plots)
            ask = partial(_classifier, name=classifier)
            write_report(page, with_evidence(ask, seen) if evidence else seen, redact=redact)
        elif plots is not None:  # the figures contain no text, so no transcript is read again
            for verdict in chain.from_iterable(builtins.map(read_verdicts, verdicts)):
                plots.add(verdict)
        if plots is not None:
            names = dict.fromkeys(path.stem for path in plots.write())
            written.append(f"{figures}: {', '.join(names)}")
    if not quiet:
        _tell(written, missing)


def _labelled(path: Path | None) -> LabelledVerdicts | None:
    """Read the labelled traces that `--labels` names."""
    from ..monitor.labelled import LabelledVerdicts, read_traces

    return LabelledVerdicts(read_traces([path])) if path else None


def _seen(
    pairs: Iterable[_Pair], missing: Counter[str], advance: Progress | None, plots: Plots | None
) -> Iterator[_Pair]:
    """Pass the pairs on; feed the figures and the progress bar, and count why texts are missing."""
    from ..monitor.trace import Unreadable

    for record, verdict in pairs:
        if plots is not None:
            plots.add(verdict)
        if isinstance(record, Unreadable) and verdict.steps:
            missing[record.problem.detail] += 1
        if advance is not None:
            advance(0, None)
        yield record, verdict
    if plots is not None:
        plots.check()  # before the page is written, and not after it


def _classifier(stamp: MonitorStamp, name: str | None) -> StepClassifier:
    """Load the classifier that gave a verdict; any other would explain a different score.

    A judge on a server is used only if the user names it, since a file of verdicts could otherwise send
    the texts anywhere.

    Raises:
        UsageError: The user must name the server, or the classifier's digest has changed.
    """
    from ..classifiers.naming import is_named, named
    from ..classifiers.registry import load_classifier
    from ..monitor.audit.plain import plain

    if name is None and is_named(stamp.classifier) and named(stamp.classifier).address:
        raise UsageError(
            f"the verdicts are from {plain(stamp.classifier, 200)}, which --evidence would send texts to: "
            "name it with --classifier if it is to be asked"
        )
    found = load_classifier(name or stamp.classifier)
    if found.digest != stamp.digest:
        raise UsageError(
            f"the verdicts are from {plain(stamp.classifier)} {stamp.digest[:19]}, and {found.name} is now "
            f"{found.digest[:19]}: name the one that gave them with --classifier, or leave out --evidence"
        )
    return found


def _tell(written: Sequence[str], missing: Counter[str]) -> None:
    """Print which files were written, and why texts are missing."""
    from rich.console import Console
    from rich.text import Text

    from ..monitor.audit.plain import plain

    console = Console(highlight=False)
    count = missing.total()
    if count:
        console.print(Text(f"{many(count, 'trace')} without text:", "yellow"))
    for why, traces_of in missing.most_common(_REASONS):
        console.print(Text(f"  {traces_of:,}: {plain(why, 300)}"))
    if len(missing) > _REASONS:
        console.print(f"  and for {len(missing) - _REASONS:,} reasons more")
    for place in written:
        console.print(Text(f"written to {plain(place, 200)}", "dim"))
