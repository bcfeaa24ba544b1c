"""The step segmenter as a spaCy component: `nlp.add_pipe("undertow_steps")`.

It fills `doc.spans["steps"]`. spaCy finds the component by its entry point, so nothing needs to be
imported. Its settings are part of the pipeline's config and are saved and loaded with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup

from .steps import MAX_CHARS, segment

__all__ = ["make_undertow_steps"]


@Language.factory(
    "undertow_steps",
    default_config={"strategy": "sentence", "max_chars": MAX_CHARS, "spans_key": "steps"},
)
def make_undertow_steps(
    nlp: Language, name: str, strategy: str, max_chars: int, spans_key: str
) -> Callable[[Doc], Doc]:
    """Create the component.

    Args:
        nlp: The pipeline that the component is added to.
        name: The component's name in the pipeline.
        strategy: As for `StepSegmenter`.
        max_chars: As for `StepSegmenter`.
        spans_key: The key of the steps in `doc.spans`.

    Raises:
        UsageError: No such strategy, or `max_chars` is below 1.
    """
    segment("", strategy, max_chars)  # raises now, not at the first text
    return _Marker(strategy, max_chars, spans_key)


@dataclass(frozen=True)
class _Marker:
    """Marks the steps of a document; can be sent to the processes of `nlp.pipe(…, n_process=…)`."""

    strategy: str
    max_chars: int
    spans_key: str

    def __call__(self, doc: Doc) -> Doc:
        spans = _step_spans(doc, self.strategy, self.max_chars)
        doc.spans[self.spans_key] = SpanGroup(doc, name=self.spans_key, spans=spans)
        return doc


def _step_spans(doc: Doc, strategy: str, max_chars: int) -> list[Span]:
    """Return the steps in whole tokens. A token that crosses a border belongs to the earlier step."""
    spans: list[Span] = []
    done = 0
    for step in segment(doc.text, strategy, max_chars):
        covering = doc.char_span(step.start, step.end, alignment_mode="expand")
        assert covering is not None, "a step has characters that are not space, so it has a token"
        start = max(covering.start, done)
        if start < covering.end:
            spans.append(Span(doc, start, covering.end, label="STEP"))
            done = covering.end
    return spans
