"""Run an audit: judge saved transcripts, write verdicts and a report, and compute the figures.

Everything streams: each record is read, judged, written and counted, and then released.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Literal, TypeAlias

from ...classifiers.contract import StepClassifier
from ...classifiers.registry import DEFAULT
from ...errors import InputError, UsageError
from ..calibration import Calibration
from ..evidence import with_evidence
from ..monitor import Monitor
from ..report import write_report
from ..verdict import TraceVerdict
from .cache import SIZE, CachedClassifier
from .distributed import audit_on_ray
from .journal import Journal
from .places import Place
from .sources import Record, Source, open_sources
from .summary import AuditResult, Summary
from .workers import Recipe, Workers
from .writers import writer_for, writing

__all__ = ["Each", "Progress", "audit", "page_target", "target"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each verdict with the number of input bytes processed and the total number."""

Each: TypeAlias = Callable[[Record, TraceVerdict], None]
"""Called with each record and its verdict."""

_Pair: TypeAlias = tuple[Record, TraceVerdict]


def audit(
    paths: Iterable[str | Path] | str | Path,
    *,
    monitor: Monitor | None = None,
    classifier: str | Path | StepClassifier = DEFAULT,
    false_alarm_rate: float = 0.05,
    calibration: Calibration | str | Path | None = None,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    cache: str | Path | None = None,
    cache_size: int = SIZE,
    workers: int | None = None,
    engine: Literal["local", "ray"] = "local",
    report: str | Path | None = None,
    redact: bool = False,
    evidence: bool = False,
    progress: Progress | None = None,
    each: Each | None = None,
) -> AuditResult:
    """Judge saved transcripts.

    Args:
        paths: Files or directories of transcripts.
        monitor: The monitor; if not given, one is created from the next three arguments.
        classifier: As for `Monitor`.
        false_alarm_rate: As for `Monitor`: the share of safe traces that may raise an alarm.
        calibration: As for `Monitor`: thresholds to use instead of the classifier's own.
        format: The name of a format; detected from the rows if not given.
        mapping: Maps a part to the field that holds it, such as `{"reasoning": "cot_trace"}`.
        out: A file for the verdicts: .jsonl, .parquet or .sqlite.
        resume: Continue an interrupted run with the same `out`; records that it judged and that have not
            changed since are not judged again.
        cache: A file that caches the classifier's results across runs.
        cache_size: Size limit of the cache, in bytes.
        workers: Number of processes that judge, one core each; None judges in this process.
        engine: "local", or "ray" to judge on a Ray cluster; `out` is then a folder of Parquet files, and
            `report`, `resume` and `each` are refused, since they need the texts or the order; `progress` is
            not called.
        report: An .html file for the report.
        redact: Leave all text that was not judged safe out of the report.
        evidence: Show in the report which steps and words moved the score of flagged traces; takes one
            more call of the classifier per flagged trace.
        progress: Called after each verdict.
        each: Called with each record and its verdict, in order.

    Returns:
        The figures; the verdicts themselves are in `out`.

    Raises:
        InputError: A file is missing, cannot be read or has no known format, or there are no rows.
        UsageError: An argument is invalid, or `out` or `report` is not a file that can be written.
        WeightsError: The classifier's weights are missing or damaged.
        CalibrationError: There is no threshold for this rate.
        MissingExtra: A package that the arguments require is not installed.
    """
    from ...classifiers.cascade import Escalation  # imports scikit-learn, which `serve` does not need

    if engine == "ray":
        _check_ray(out, report=report, resume=resume, each=each)
    opened = partial(open_sources, format=format, mapping=mapping)
    sources = opened(paths)
    empty = tuple(source.place.name for source in sources if source.reader is None)
    if len(empty) == len(sources):
        raise InputError(f"nothing to audit: no rows in {', '.join(empty) or 'no files'}")
    places = [source.place for source in sources]
    page, verdicts = page_target(report, places), target(out, places)
    _check(page, verdicts, target(cache, places), redact=redact, evidence=evidence, resume=resume)
    judge = monitor or Monitor(classifier, false_alarm_rate=false_alarm_rate, calibration=calibration)
    recipe = Recipe.of(judge, cache, cache_size)
    escalation = Escalation(judge.classifier)
    if engine == "ray":
        assert verdicts is not None
        return audit_on_ray(sources, verdicts, recipe, opened, workers)
    write = writer_for(verdicts) if verdicts is not None else None
    summary = Summary(place.name for place in places)
    with ExitStack() as stack:
        judge = recipe.cached(judge)
        if isinstance(judge.classifier, CachedClassifier):
            stack.callback(judge.classifier.close)
        journal = stack.enter_context(Journal(verdicts, resume=resume)) if verdicts is not None else None
        asked = judge.judge_pairs if workers is None else stack.enter_context(Workers(recipe, workers)).judge
        takers: list[Each] = [lambda _, verdict: summary.add(verdict)]
        takers += [each] if each is not None else []
        pairs = _told(sources, lambda records: _judged(records, judge, asked, journal), takers, progress)
        if page is None:
            deque(pairs, maxlen=0)
        else:
            shown = with_evidence(lambda _: judge.classifier, pairs) if evidence else pairs
            write_report(page, shown, redact=redact)
        if journal is not None and verdicts is not None and write is not None:
            journal.save()
            with writing(verdicts) as beside:
                write(journal.lines(), beside)
            journal.remove()
    return summary.result(empty, escalation.share)


def _judged(
    records: Iterator[Record],
    monitor: Monitor,
    engine: Callable[[Iterable[Record]], Iterator[_Pair]],
    journal: Journal | None,
) -> Iterator[_Pair]:
    """Yield the verdicts that are in the journal, then judge the rest and add it to the journal."""
    if journal is None:
        yield from engine(records)
        return
    for record in records:
        verdict = journal.known(record, monitor)
        if verdict is None:
            records = chain([record], records)
            break
        yield record, verdict
    for record, verdict in engine(records):
        journal.add(record, verdict, monitor)
        yield record, verdict


def _told(
    sources: Sequence[Source],
    judge: Callable[[Iterator[Record]], Iterator[_Pair]],
    takers: Sequence[Each],
    progress: Progress | None,
) -> Iterator[_Pair]:
    """Judge every record; pass each pair to the takers, report progress, and yield the pair."""
    total = sum(source.size for source in sources)
    ends: deque[int] = deque()
    for record, verdict in judge(_records(sources, ends)):
        for take in takers:
            take(record, verdict)
        end = ends.popleft()
        if progress is not None:
            progress(min(end, total), total)
        yield record, verdict


def _records(sources: Sequence[Source], ends: deque[int]) -> Iterator[Record]:
    """Yield all records, and append the end position of each in the whole input, in bytes, to `ends`."""
    before = 0
    for source in sources:
        for record, end in source.records():
            ends.append(before + end)
            yield record
        before += source.size


def _check(
    page: Path | None,
    verdicts: Path | None,
    cache: Path | None,
    *,
    redact: bool,
    evidence: bool,
    resume: bool,
) -> None:
    """Refuse options without effect, and outputs that would overwrite each other."""
    for option, given in (("redact", redact), ("evidence", evidence)):
        if given and page is None:
            raise UsageError(
                f"{option} changes the report only: ask for one with report (--report FILE.html)"
            )
    if resume and verdicts is None:
        raise UsageError("resume needs the file of verdicts to continue: name it with out (--out FILE.jsonl)")
    names = {"verdicts": verdicts, "report": page, "cache": cache}
    for (one, path), (other, same) in combinations(names.items(), 2):
        if path is not None and same is not None and path.resolve() == same.resolve():
            raise UsageError(f"the {one} and the {other} cannot both be written to {path}")


def _check_ray(out: str | Path | None, **options: object) -> None:
    """Refuse what a run on a cluster cannot do."""
    if out is None:
        raise UsageError("the engine ray writes its verdicts into a new folder: name it with out (--out DIR)")
    if Path(out).exists():
        raise UsageError(f"{out} already exists, and the engine ray writes a new folder: name another")
    for name, value in options.items():
        if value:
            hint = f": make it afterwards with `undertow report {out}`" if name == "report" else ""
            raise UsageError(f"the engine ray has no {name}{hint}")


def target(path: str | Path | None, inputs: Iterable[Place]) -> Path | None:
    """Return the path to write, or None if not given.

    Raises:
        UsageError: No file can be written there, or it would overwrite an input.
    """
    if path is None:
        return None
    found = Path(path)
    if not os.path.isdir(found.parent) or (os.path.exists(found) and not os.path.isfile(found)):
        raise UsageError(f"cannot write {found}: its folder does not exist, or it is not a regular file")
    if not os.access(found.parent, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {found}: no permission to write into {found.parent}")
    if any(place.is_at(found) for place in inputs):
        raise UsageError(f"cannot write {found}: it is one of the inputs")
    return found


def page_target(path: str | Path | None, inputs: Iterable[Place]) -> Path | None:
    """Return the path of the page to write, or None if not given: as `target`, and its name must say HTML.

    Raises:
        UsageError: As for `target`, or a browser would not take the file for a page.
    """
    found = target(path, inputs)
    if found is not None and found.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"cannot write the report to {found}: its name must end in .html")
    return found
