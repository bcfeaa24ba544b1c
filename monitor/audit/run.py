"""The audit: from saved transcripts to verdicts, a file of them, a report, and the figures.

Everything streams: a record is read, judged, kept and counted, and then let go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
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

__all__ = ["Each", "Progress", "audit", "target"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called after each verdict with how many bytes of the input lie behind, and of how many."""

Each: TypeAlias = Callable[[Record, TraceVerdict], None]
"""Called with each record and its verdict."""

_Pair: TypeAlias = tuple[Record, TraceVerdict]


def audit(
    paths: Iterable[str | Path] | str | Path,
    *,
    monitor: Monitor | None = None,
    classifier: str | Path | StepClassifier = DEFAULT,
    false_alarm_rate: float = 0.05,
    calibration: Calibration | Path | None = None,
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
        paths: Files, or directories that hold them.
        monitor: What judges; the next three arguments make one if it is not given.
        classifier: As for `Monitor`.
        false_alarm_rate: As for `Monitor`: the share of safe traces that may raise an alarm.
        calibration: As for `Monitor`: thresholds in place of the classifier's own.
        format: The name of a format; told from the rows if not given.
        mapping: Which field holds which part, such as `{"reasoning": "cot_trace"}`.
        out: A file for the verdicts: .jsonl, .parquet or .sqlite.
        resume: Go on with a run to the same `out` that was broken off: what it judged is not judged
            again where it is still the same.
        cache: A file that remembers, across runs, what the classifier said of a step.
        cache_size: How many bytes it may take.
        workers: Judge in that many processes, one core each; None judges in this one.
        engine: "local", or "ray" to judge on a Ray cluster; `out` is then a folder of Parquet files, and what
            needs the texts or the order (`report`, `resume`, `each`, `progress`) is not to be had.
        report: An .html file for a person.
        redact: Leave out of the report all text that was not judged safe.
        evidence: Find for the report which steps and words moved the score of what is flagged; it takes
            one more call of the classifier a flagged trace.
        progress: Called after each verdict.
        each: Called with each record and its verdict, in order.

    Returns:
        The figures; the verdicts themselves are in `out`.

    Raises:
        InputError: A file is missing, cannot be read or has no known format, or there is no row.
        UsageError: An argument cannot be, or `out` or `report` is not a file that can be written.
        WeightsError: The classifier's weights are missing or damaged.
        CalibrationError: There is no threshold for this rate.
        MissingExtra: The form of `out` needs a package that is not installed.
    """
    from ...classifiers.cascade import Escalation  # it brings scikit-learn, which who only serves is spared

    sources = open_sources(paths, format=format, mapping=mapping)
    empty = tuple(source.place.name for source in sources if source.reader is None)
    if len(empty) == len(sources):
        raise InputError(f"nothing to audit: no rows in {', '.join(empty) or 'no files'}")
    places = [source.place for source in sources]
    page, verdicts = target(report, places), target(out, places)
    _check(page, verdicts, target(cache, places), redact=redact, evidence=evidence, resume=resume)
    judge = monitor or Monitor(classifier, false_alarm_rate=false_alarm_rate, calibration=calibration)
    recipe = Recipe.of(judge, cache, cache_size)
    escalation = Escalation(judge.classifier)
    if engine == "ray":
        if verdicts is None or any((page, resume, each)):
            raise UsageError("the engine ray needs out, and has no report, no resume and no each")
        return audit_on_ray(sources, verdicts, recipe, workers=workers, format=format, mapping=mapping)
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
            write_report(page, with_evidence(judge.classifier, pairs) if evidence else pairs, redact=redact)
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
    """Take from the journal what it knows; judge the rest, and keep it."""
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
    """Judge every record; hand it with its verdict to the takers, say how far this is, and pass both on."""
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
    """Yield all records, and note for each how many bytes of the input lie before its end."""
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
    """Refuse what would do nothing, or overwrite itself."""
    if redact and page is None:
        raise UsageError("redact is about the report: ask for one with report (--report FILE.html)")
    if evidence and page is None:
        raise UsageError("evidence is shown in the report: ask for one with report (--report FILE.html)")
    if resume and verdicts is None:
        raise UsageError("resume goes on with a file of verdicts: name it with out (--out FILE.jsonl)")
    names = {"verdicts": verdicts, "report": page, "cache": cache}
    for (one, path), (other, same) in combinations(names.items(), 2):
        if path is not None and same is not None and path.resolve() == same.resolve():
            raise UsageError(f"the {one} and the {other} cannot both be {path}")


def target(path: str | Path | None, inputs: Iterable[Place]) -> Path | None:
    """Return the file to write; refuse what would overwrite an input or is no place for a file."""
    if path is None:
        return None
    found = Path(path)
    if not found.parent.is_dir() or (found.exists() and not found.is_file()):
        raise UsageError(f"cannot write {found}: not a file in a folder that exists")
    if any(place.is_at(found) for place in inputs):
        raise UsageError(f"cannot write {found}: it is one of the files to audit")
    return found
