"""Steps against the boundaries that people drew, and against the sentences that labels belong to."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def benchmark(root: Path) -> Iterator[ModuleType]:
    """benchmarks/segmentation.py, which measures; like a script, it imports from its own folder."""
    name = "undertow_segmentation_benchmark"
    spec = importlib.util.spec_from_file_location(name, root / "benchmarks" / "segmentation.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "benchmarks")
        patch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        yield module


def test_window_errors(benchmark: ModuleType) -> None:
    """Pk and WindowDiff have the values that a count by hand gives."""
    reference, predicted = [1, 0, 0, 0, 1, 0, 0, 0], [1, 0, 0, 1, 1, 0, 0, 0]
    assert benchmark.window_errors(reference, reference) == (0, 0)
    assert benchmark.window_errors(reference, predicted) == pytest.approx((1 / 6, 2 / 6))


def test_agreement_with_oneself_is_perfect(benchmark: ModuleType) -> None:
    """A predictor that returns the reference scores 1 and makes no window errors."""
    trace = {"units": ["a", "b", "c", "d"], "boundaries": [[1, 0, 1, 0], [1, 1, 1, 0]]}
    same = benchmark.agreement([trace], lambda units, boundaries, reference: boundaries[reference])
    assert (same.f1, same.pk, same.window_diff, same.ratio) == (1, 0, 0, 1)
    other = benchmark.agreement([trace], benchmark.other_person)
    assert other.f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize("carried", [False, True], ids=["at borders", "carried"])
def test_discourse_agrees_with_people(benchmark: ModuleType, shared: Path, carried: bool) -> None:
    """`discourse` is above .741 in strict boundary F1 and below .259 in Pk, on either count."""
    traces = benchmark.read_jsonl(shared / "corpus" / "segmentation_dev.jsonl")
    found = benchmark.agreement(traces, benchmark.by_strategy("discourse", carried=carried))
    assert found.f1 > 0.741
    assert found.pk < 0.259


def test_sentences_agree_with_labelled_units(benchmark: ModuleType, shared: Path) -> None:
    """The default cuts as the sentences were cut that the classifier is trained on."""
    traces = benchmark.read_jsonl(shared / "corpus" / "steps_train.jsonl", 200)
    _, _, f1 = benchmark.unit_f1(traces, "sentence")
    assert f1 > 0.97
