"""`undertow calibrate`: find thresholds for a false-alarm rate on your own safe traces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..classifiers.contract import CHANNELS
from ..classifiers.registry import DEFAULT
from ..errors import CalibrationError, UsageError
from ..monitor.many import many
from .common import mapping_of, must_be_file, writable
from .options import Classifier, Format, Map, Quiet
from .progress import counting

if TYPE_CHECKING:
    from ..monitor.audit import Record
    from ..monitor.calibration import Calibration
    from ..monitor.trace import Trace

__all__ = ["calibrate"]


def calibrate(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="SAFE", help="Safe transcripts, of the kind to be monitored."),
    ],
    *,
    classifier: Classifier = DEFAULT,
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="Write the calibration here.")] = Path(
        "calibration.json"
    ),
    segmenter: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How text is split into steps: sentence, as in all other commands, or, for a Monitor in "
            "Python, paragraph, discourse or window.",
        ),
    ] = "sentence",
    population: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A description of these traces.")
    ] = None,
    format: Format = None,
    map: Map = None,
    quiet: Quiet = False,
) -> None:
    """Find thresholds that keep a promised false-alarm rate per trace.

    All traces are assumed to be safe, except those whose labels say
    otherwise, which are left out. Use the result with
    `undertow audit --calibration FILE`.
    """
    must_be_file(out, paths)
    from ..classifiers.registry import load_classifier
    from ..monitor import calibrating
    from ..monitor.audit import read
    from ..monitor.steps import STRATEGIES

    if segmenter not in STRATEGIES:
        raise UsageError(f"no segmenter {segmenter!r}; known: {', '.join(STRATEGIES)}")
    judge = load_classifier(classifier)
    left = _Left()
    records = read(paths, format=format, mapping=mapping_of(map or ()))
    with counting(shown=not quiet) as advance, writable(), _saying(left):
        made, left_out = calibrating.calibrate(
            judge,
            _traces(records, left),
            population=population or f"safe traces of {', '.join(_called(path) for path in paths)}",
            segmenter=segmenter,
            progress=lambda done: advance(done, None) if advance is not None else None,
        )
        out.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if not quiet:
        _show(made, left_out + len(left.unread), out)
        for told in filter(None, left.told()):
            typer.echo(f"undertow: {told}", err=True)
        for channel, name in (("reasoning", "reasoning"), ("answer", "an answer")):
            if channel not in left.channels:
                told = f"no trace here has {name}: the promise is for traces without, and no others"
                typer.echo(f"undertow: {told}", err=True)


def _called(path: str) -> str:
    return "standard input" if path == "-" else Path(path).name


UNSAFE = "left out, since their labels say that they are not safe"


@dataclass
class _Left:
    """The rows that were left out, as shown to the user, and the channels of the rows that were used."""

    unread: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)

    def told(self) -> tuple[str, str]:
        """Return how many rows were left out for each reason, and which was the first."""
        return _counted(self.unread, "could not be read whole"), _counted(self.unsafe, UNSAFE)


def _traces(records: Iterator[Record], left: _Left) -> Iterator[Trace]:
    """Yield complete traces that are not labelled unsafe; note why each other row is left out."""
    from ..monitor.trace import Trace

    for record in records:
        problem = _problem(record)
        if isinstance(record, Trace) and not problem:
            left.channels.update(name for name in CHANNELS if getattr(record, name))
            yield record
        else:
            named = f"{record.origin.path}, row {record.origin.row}"
            if problem == UNSAFE:
                left.unsafe.append(named)
            else:
                left.unread.append(f"{named}: {problem}")


def _problem(record: Record) -> str:
    """Return why a record is left out, or an empty string if it is used."""
    from ..monitor.labelled import labelled_unsafe
    from ..monitor.trace import Trace

    if not isinstance(record, Trace):
        return record.problem.detail or record.problem.reason
    if record.caveat is not None:
        return record.caveat.detail or record.caveat.reason
    if record.truncated:
        return "the generation was cut off"
    try:
        return UNSAFE if labelled_unsafe(record) else ""
    except ValueError as error:
        return str(error)


@contextmanager
def _saying(left: _Left) -> Iterator[None]:
    """If calibration fails, add to the error how many rows were left out, and which was the first."""
    try:
        yield
    except CalibrationError as error:
        raise CalibrationError(". ".join([str(error), *filter(None, left.told())])) from error


def _counted(rows: Sequence[str], what: str) -> str:
    """Return the number of rows of a kind and the first of them, or an empty string if there are none."""
    return f"{many(len(rows), 'row')} {what}; the first: {rows[0]}" if rows else ""


def _show(made: Calibration, left_out: int, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..monitor.audit.plain import plain
    from ..monitor.calibrating import promises
    from ..monitor.evaluation import LENGTHS

    console = Console(highlight=False)
    gaps = f" · {left_out:,} left out, since not judged in full" if left_out else ""
    console.print(Text(f"{many(len(made.statistics), 'safe trace')}{gaps}"))
    by_length = (name.replace(" steps", "\nsteps").replace("steps and", "and") for name in LENGTHS)
    heads = ("false alarms\nasked for", "threshold", "really, 95%", *by_length)
    table = Table(*heads, box=None, padding=(0, 2, 0, 0), header_style="dim")
    for one in promises(made):
        rate = f"{one.rate:.1%}"
        if one.threshold is None or one.low is None or one.high is None:
            table.add_row(rate, Text(f"needs {many(one.needed, 'trace')}", "yellow"))
        else:
            parts = (f"{n.count} of {n.total}" if n.total else "-" for n in one.lengths.values())
            table.add_row(rate, f"{one.threshold:.2f}", f"{one.low:.1%} to {one.high:.1%}", *parts)
    console.print(table)
    use = (
        "--calibration"
        if made.segmenter == "sentence"
        else f"Monitor(segmenter={made.segmenter!r}, calibration=…)"
    )
    console.print(Text(f"written to {plain(str(out), 200)}: use it with {use}", "dim"))
