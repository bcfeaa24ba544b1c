"""`undertow audit`: judge saved transcripts, write verdicts and print a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..classifiers.registry import DEFAULT
from ..errors import UsageError
from .common import given, mapping_of, writable
from .options import Classifier, FalseAlarmRate, Format, Map, Quiet
from .progress import watch

__all__ = ["audit"]


def audit(
    context: typer.Context,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Transcripts: files, folders, quoted patterns, URLs, - for stdin."
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the verdicts here: FILE.jsonl, FILE.parquet or FILE.sqlite."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run to the same --out.")
    ] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Compare with these transcripts, prompt by prompt. Can be repeated."
        ),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="What sets the exit status: flagged, flagged>5%, incomplete, incomplete>1%, worse, "
            "never. Can be repeated.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write an HTML report here; it opens offline.")
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option(
            "--evidence", help="Show in the report which steps and words moved the score of flagged traces."
        ),
    ] = False,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Leave text that was not judged safe out of the report, for good."),
    ] = False,
    false_alarm_rate: FalseAlarmRate = 0.05,
    engine: Annotated[
        str,
        typer.Option(metavar="NAME", help="local, or ray for a Ray cluster; --out is then a folder."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Judge in N processes, one core each; by default in this one."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep judgements here across runs; holds no text."),
    ] = None,
    cache_size: Annotated[int, typer.Option(metavar="MB", min=1, help="The largest size of --cache.")] = 1024,
    classifier: Classifier = DEFAULT,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Run the encoder on torch: cuda, cpu, or auto for a GPU if there is one."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Thresholds from `undertow calibrate`, for this classifier."),
    ] = None,
    format: Format = None,
    map: Map = None,
    quiet: Quiet = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON instead of a table.")
    ] = False,
) -> None:
    """Judge saved transcripts, and show where their reasoning drifts toward harm."""
    mapping = mapping_of(map or ())
    from ..classifiers.registry import load_classifier
    from ..monitor import audit as runtime
    from ..monitor.audit.compare import compare
    from ..monitor.audit.fail import NO_COMPARISON, Condition, exit_status

    conditions = [Condition.of(text) for text in fail_on or ()]
    if not against and any(condition.name == "worse" for condition in conditions):
        raise UsageError(NO_COMPARISON)
    if engine not in ("local", "ray"):
        raise UsageError(f"no engine {engine!r}; the engines are local and ray")
    if cache is None and given(context, "cache_size"):
        raise UsageError("--cache-size is the size of a cache: give --cache FILE as well")
    with (
        _interruptible(resumable=out is not None and engine == "local"),
        watch(shown=not quiet) as seen,
        writable(),
    ):
        options: dict[str, Any] = {
            "classifier": load_classifier(classifier, device),
            "false_alarm_rate": false_alarm_rate,
            "calibration": calibration,
            "format": format,
            "mapping": mapping,
            "out": out,
            "resume": resume,
            "cache": cache,
            "cache_size": cache_size * 10**6,
            "workers": workers,
            "engine": engine,
            "report": report,
            "redact": redact,
            "evidence": evidence,
            "progress": seen.progress if seen else None,
            "each": seen.each if seen and engine == "local" else None,
        }
        comparison = compare(paths, against, **options) if against else None
        result = comparison.after if comparison else runtime.audit(paths, **options)
    if json:
        typer.echo((comparison or result).model_dump_json(by_alias=True, indent=2))
    elif not quiet:
        from .summary import show, show_change

        show(result, written=[path for path in (out, report) if path])
        if comparison:
            show_change(comparison)
    raise typer.Exit(exit_status(conditions, result, comparison))


@contextmanager
def _interruptible(*, resumable: bool) -> Iterator[None]:
    """At Ctrl-C, say whether the run can be continued."""
    try:
        yield
    except KeyboardInterrupt:
        how = "the same command with --resume goes on from here" if resumable else "nothing was kept"
        typer.echo(f"undertow: interrupted; {how}", err=True)
        raise
