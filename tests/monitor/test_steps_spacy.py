"""The spaCy component cuts as StepSegmenter does."""

from __future__ import annotations

import pickle
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language

from undertow.errors import UsageError
from undertow.monitor.steps import STRATEGIES, segment

TEXT = (
    "Okay, the user asks about e.g. 3.14 and Dr. Lee's U.S. figures. Wait, is `a.b` right?\n\n"
    "Things to check:\n- the first one\n- the second one (etc.)\n1. Look at $x. Y$ again.\r\n"
    "  Hmm... so be it! 😀 That's all: ```py\nprint('a. B')\n``` and the rest"
)


@cache
def pipeline(**config: object) -> Language:
    """A blank English pipeline with the component; one for each configuration."""
    nlp = spacy.blank("en")
    nlp.add_pipe("undertow_steps", config=config)
    return nlp


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_same_steps(strategy: str) -> None:
    """The spans have the texts and the places of the segmenter's steps."""
    doc = pipeline(strategy=strategy)(TEXT)
    assert [(span.text, span.start_char, span.end_char) for span in doc.spans["steps"]] == [
        (step.text, step.start, step.end) for step in segment(TEXT, strategy)
    ]


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="ab.。! \n`$中😀", max_size=60), max_chars=st.sampled_from([1, 5, 50]))
def test_apart(text: str, max_chars: int) -> None:
    """Spans never overlap and cover each token that is not space, whatever the tokens."""
    doc = pipeline(max_chars=max_chars)(text)
    spans = list(doc.spans["steps"])
    assert all(a.end <= b.start for a, b in pairwise(spans))
    covered = {token.i for span in spans for token in span}
    assert {token.i for token in doc if not token.is_space} <= covered


def test_saved_with_the_pipeline(tmp_path: Path) -> None:
    """A saved pipeline comes back with the component and its settings."""
    nlp = pipeline(strategy="paragraph", spans_key="thoughts")
    nlp.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert again.pipe_names == ["undertow_steps"]
    doc = again(TEXT)
    assert [span.text for span in doc.spans["thoughts"]] == [step.text for step in segment(TEXT, "paragraph")]


def test_sent_to_another_process() -> None:
    """A pipeline with the component can be pickled, as `nlp.pipe` does where processes are not forked."""
    doc = pickle.loads(pickle.dumps(pipeline()))(TEXT)
    assert [span.text for span in doc.spans["steps"]] == [step.text for step in segment(TEXT)]


def test_wrong_strategy() -> None:
    """An unknown strategy is refused when the component is added."""
    with pytest.raises(UsageError, match="unknown segmentation strategy 'words'"):
        pipeline(strategy="words")
