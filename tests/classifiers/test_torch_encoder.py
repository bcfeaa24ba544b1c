"""What ships, on torch: it says the same, within a tolerance, and says that it is not the same to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers import devices
from undertow.classifiers.contract import StepClassifier, StepInput, risk_of
from undertow.classifiers.corpus import read_labelled, step_inputs
from undertow.classifiers.registry import load_classifier
from undertow.errors import MissingExtra, UsageError
from undertow.monitor.audit import read
from undertow.monitor.monitor import Monitor
from undertow.monitor.trace import Trace

pytest.importorskip("torch", reason="needs the extra `gpu`")
pytest.importorskip("onnx", reason="needs the extra `gpu`")

NAMES = ("step-encoder", "step-ensemble")

MEAN, MOST, SIDE = 0.03, 0.12, 0.95
"""How far risks may lie apart in the mean, and for 95 % of steps; how many stay on their side of one half."""


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest) -> tuple[StepClassifier, StepClassifier]:
    """A classifier as it ships, and on torch."""
    return load_classifier(request.param), load_classifier(request.param, device="cpu")


def agree(pair: tuple[StepClassifier, StepClassifier], steps: Sequence[StepInput]) -> None:
    """Hold the two to the tolerance that docs/scale.md states."""
    first, second = (risk_of(one.predict_proba(steps)) for one in pair)
    apart = np.abs(first - second)
    assert apart.mean() < MEAN
    assert np.quantile(apart, 0.95) < MOST
    assert ((first > 0.5) == (second > 0.5)).mean() > SIDE


def test_the_samples_are_judged_alike(root: Path, pair: tuple[StepClassifier, StepClassifier]) -> None:
    """On the package's own transcripts the two agree on each step, and on what is flagged but for one."""
    traces = [one for one in read([root / "data/samples"]) if isinstance(one, Trace)]
    shipped, on_torch = ([*Monitor(one).judge(traces)] for one in pair)
    risks = [
        [s.risk for v in verdicts for s in v.steps if s.risk is not None] for verdicts in (shipped, on_torch)
    ]
    first, second = map(np.array, risks)
    apart = np.abs(first - second)
    assert len(apart) > 50
    assert apart.mean() < MEAN
    assert np.quantile(apart, 0.95) < MOST
    assert sum(a.flagged != b.flagged for a, b in zip(shipped, on_torch, strict=True)) <= 1


def test_real_steps_are_judged_alike(shared: Path, pair: tuple[StepClassifier, StepClassifier]) -> None:
    """On labelled traces the two agree within the tolerance."""
    traces = read_labelled(shared / "corpus/steps_train.jsonl")[::250]
    agree(pair, [step for trace in traces for step in step_inputs(trace)])


def test_the_digest_says_that_rows_may_differ(pair: tuple[StepClassifier, StepClassifier]) -> None:
    """The name stays, the digest is another one, and the calibration of what ships is good for it."""
    shipped, on_torch = pair
    assert on_torch.name == shipped.name
    assert on_torch.digest != shipped.digest
    monitor = Monitor(on_torch)
    assert monitor.threshold == Monitor(shipped).threshold
    assert monitor.stamp.digest == on_torch.digest


@pytest.mark.parametrize(
    ("name", "device", "said"),
    [
        ("keyword", "cuda", "keyword cannot run on cuda"),
        ("step-lexical", "cpu", "step-lexical cannot run on cpu"),
        ("guard:org/name", "cuda", "use a GPU if there is one"),
        ("step-encoder", "nonsense", "cannot use the device 'nonsense'"),
    ],
)
def test_a_device_that_cannot_be_is_refused(name: str, device: str, said: str) -> None:
    """What has no network of its own for torch, and what is no device, is said to be so."""
    with pytest.raises(UsageError, match=said):
        load_classifier(name, device=device)


@pytest.mark.parametrize("name", ["keyword", "step-lexical", "step-encoder"])
def test_auto_without_a_gpu_is_what_ships(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` changes nothing where there is no GPU."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert load_classifier(name, device="auto") is load_classifier(name)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch a device that was asked for is refused with the command, and `auto` is what ships."""
    monkeypatch.setattr(devices, "NEEDED", ("no_such_package",))
    with pytest.raises(MissingExtra, match="gpu"):
        load_classifier("step-encoder", device="cpu")
    assert load_classifier("step-encoder", device="auto") is load_classifier("step-encoder")
