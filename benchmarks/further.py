"""The further lessons of step-encoder besides the labelled steps, from other files of the corpus.

A sixth of the requests and answers is held out for figures on answers; of the rest only some are
used, so that training remains feasible on two cores. A trace whose request or generator also occurs
in the labelled traces is used only if labelled traces with it are trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from undertow.classifiers.contract import StepClassifier
from undertow.classifiers.corpus import LabelledTrace
from undertow.classifiers.lessons import Lesson, estimated, read_pairs, read_unlabelled, read_whole_traces
from undertow.monitor.steps import segment

__all__ = ["estimated_lessons", "further_lessons", "kept_pairs"]

TRACES = "traces_train.jsonl.gz"

KEPT = 6
"""One pair in this many is held out for figures."""

ANSWERS, REQUESTS, BENIGN, BEGINNING = 4000, 3500, 500, 14


def _pairs(corpus: Path) -> list[tuple[bool, Lesson]]:
    """Return all pairs in an arbitrary but fixed order, each with whether it is held out."""
    pairs = read_pairs(corpus / "responses_aux.jsonl.gz", lambda text: [s.text for s in segment(text[:3000])])
    marked = [(crc32(repr((one.prompt, one.steps[:1])).encode()), one) for one in pairs]
    return [(mark % KEPT == 0, one) for mark, one in sorted(marked, key=lambda pair: pair[0] // KEPT)]


def kept_pairs(corpus: Path) -> list[Lesson]:
    """Return the answers that are held out from all training."""
    return [one for kept, one in _pairs(corpus) if kept and one.steps]


def further_lessons(
    corpus: Path, labelled: Sequence[LabelledTrace], train: Sequence[LabelledTrace]
) -> list[Lesson]:
    """Return the lessons that may be used in training together with `train`.

    Args:
        corpus: the folder of the files.
        labelled: all labelled traces.
        train: the labelled traces to train on; lessons with a group or a generator that only the other
            labelled traces have are left out.
    """
    traces = _known(read_whole_traces(corpus / TRACES), labelled, train)
    benign = [replace(one, steps=one.steps[:BEGINNING]) for one in traces if one.whole == "neutral"]
    pairs = [one for kept, one in _pairs(corpus) if not kept]
    return [
        *sorted(benign, key=lambda one: crc32(one.steps[0].encode()))[:BENIGN],
        *(one for one in traces if one.whole == "safe"),
        *[one for one in pairs if one.steps][:ANSWERS],
        *[one for one in pairs if not one.steps][:REQUESTS],
    ]


def estimated_lessons(
    corpus: Path,
    labelled: Sequence[LabelledTrace],
    train: Sequence[LabelledTrace],
    teacher: StepClassifier,
) -> list[Lesson]:
    """Return the unlabelled traces with the estimates of a classifier trained on `train`."""
    return estimated(_known(read_unlabelled(corpus / TRACES), labelled, train), teacher)


def _known(
    lessons: Sequence[Lesson], labelled: Sequence[LabelledTrace], train: Sequence[LabelledTrace]
) -> list[Lesson]:
    """Leave out lessons with a group or a generator that only labelled traces outside `train` have."""
    groups = {trace.group for trace in labelled} - {trace.group for trace in train}
    generators = {trace.generator for trace in labelled} - {trace.generator for trace in train}
    return [one for one in lessons if one.group not in groups and one.generator not in generators]
