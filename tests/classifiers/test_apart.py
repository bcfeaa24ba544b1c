"""A classifier in a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers import registry
from undertow.classifiers.apart import Apart, place_of
from undertow.classifiers.conformance import CHECKS, Check
from undertow.classifiers.contract import StepInput
from undertow.classifiers.limits import languages_of
from undertow.classifiers.registry import load_classifier
from undertow.errors import CannotJudge, WeightsError
from undertow.testing import ScriptedClassifier

STEPS = [
    StepInput("Let me think.", "How do I plan a garden?"),
    StepInput("I should refuse this.", "", ("So.",)),
]


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    """The keyword classifier, elsewhere."""
    with Apart(load_classifier("keyword"), "keyword") as apart:
        yield apart


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_it_keeps_the_contract(apart: Apart, check: Check) -> None:
    """What holds of a classifier holds of it in another process."""
    check(apart)


def test_its_rows_are_those_of_the_classifier(apart: Apart) -> None:
    """Name, digest and rows are the same as here."""
    here = load_classifier("keyword")
    assert (apart.name, apart.digest, list(apart.classes_)) == (here.name, here.digest, list(here.classes_))
    np.testing.assert_array_equal(apart.predict_proba(STEPS), here.predict_proba(STEPS))


def test_a_process_that_was_killed_is_begun_anew() -> None:
    """Whoever asks next is answered, by another one."""
    with Apart(load_classifier("keyword"), "keyword") as apart:
        apart.start()
        process = apart._process
        assert process is not None and process.pid is not None
        apart.predict_proba(STEPS)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert apart.predict_proba(STEPS).shape == (2, 4)
        assert apart._process is not process


def test_what_cannot_be_loaded_is_not_judged(tmp_path: Path) -> None:
    """A process that ends before it answers is an error, and never a row."""
    with Apart(load_classifier("keyword"), tmp_path) as apart, pytest.raises(CannotJudge, match="keyword"):
        apart.predict_proba(STEPS)


@pytest.mark.parametrize("name", ["keyword", "step-lexical"])
def test_what_only_the_other_process_loads(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It says of itself what the classifier says, and judges the same, without a classifier in this one."""
    monkeypatch.setattr(registry, "_loaded", {})
    with Apart.begun(name) as apart:
        process = apart._process
        rows = apart.predict_proba(STEPS)
        assert not registry._loaded
        assert apart._process is process
    here = load_classifier(name)
    for said in ("name", "digest", "folder", "original", "note"):
        assert getattr(apart, said) == getattr(here, said)
    assert (list(apart.classes_), languages_of(apart)) == (list(here.classes_), languages_of(here))
    np.testing.assert_array_equal(rows, here.predict_proba(STEPS))


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    """Whoever begins a process for it hears what is wrong."""
    with pytest.raises(WeightsError, match="cannot read"):
        Apart.begun(tmp_path)


def test_where_a_classifier_is_found() -> None:
    """By its folder or its name; one that has neither stays where it is."""
    assert place_of(load_classifier("keyword")) == "keyword"
    lexical = load_classifier("step-lexical")
    assert place_of(lexical) == getattr(lexical, "folder", lexical.name)
    assert place_of(ScriptedClassifier()) is None
