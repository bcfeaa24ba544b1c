"""The threshold and its promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers.contract import Channel
from undertow.classifiers.registry import load_classifier
from undertow.errors import CalibrationError
from undertow.monitor.calibration import Calibration, calibration_for, joint_statistic
from undertow.testing import ScriptedClassifier


def calibration(statistics: list[float], **changes: str) -> Calibration:
    """A calibration from these statistics."""
    names = {"classifier": "x", "digest": "sha256:0", "segmenter": "sentence", "population": "made up"}
    return Calibration.model_validate(names | changes | {"statistics": sorted(statistics)})


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.3])
@pytest.mark.parametrize("n", [120, 499])
def test_the_promise_holds_for_exchangeable_traces(n: int, rate: float) -> None:
    """Over many draws, the mean share of new safe traces above the threshold is at most the rate."""
    random = np.random.default_rng(7)
    shares = []
    for _ in range(400):
        draw = random.standard_t(3, size=n + 200)
        threshold = calibration(draw[:n].tolist()).threshold(rate)
        shares.append(float((draw[n:] > threshold).mean()))
    error = 3 * float(np.std(shares)) / len(shares) ** 0.5
    assert rate - 1.5 / n - error <= float(np.mean(shares)) <= rate + error


def test_too_few_traces_promise_nothing() -> None:
    """A rate that so few traces cannot support is refused, with the number that could."""
    with pytest.raises(CalibrationError, match="at least 99 safe traces"):
        calibration([0.0] * 98).threshold(0.01)
    assert calibration([0.0] * 99).threshold(0.01) == 0.0


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, 2.0, float("nan")])
def test_a_rate_is_a_share(rate: float) -> None:
    """Nonsense is refused."""
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        calibration([0.0] * 99).threshold(rate)


def test_channels_share_one_budget() -> None:
    """A trace counts once, by its worse channel, margins taken off."""
    margins: dict[Channel, float] = {"answer": 3.5}
    assert joint_statistic({"reasoning": 1.0, "answer": 5.0}, margins) == 1.5
    assert joint_statistic({"reasoning": 2.0}, margins) == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "sha256:1"}, "calibrate again"),
        ({"segmenter": "window"}, "calibrate again"),
    ],
)
def test_a_calibration_for_something_else_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    """Other weights or other steps: the threshold would promise nothing."""
    keyword = load_classifier("keyword")
    path = calibration([0.0] * 99, **({"digest": keyword.digest} | changes)).save(tmp_path)
    with pytest.raises(CalibrationError, match=message):
        calibration_for(keyword, "sentence", path)


@pytest.mark.parametrize("text", ["", "{}", "not json"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    """So is a broken file."""
    path = tmp_path / "calibration.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match="not a calibration") as error:
        calibration_for(load_classifier("keyword"), "sentence", path)
    assert len(str(error.value).splitlines()) == 1


def test_no_calibration_is_an_error(tmp_path: Path) -> None:
    """There is no threshold without one."""
    with pytest.raises(CalibrationError, match=r"cannot read .*none\.json: No such file"):
        calibration_for(load_classifier("keyword"), "sentence", tmp_path / "none.json")
    with pytest.raises(CalibrationError, match="'scripted' has no calibration: make one with"):
        calibration_for(ScriptedClassifier(), "sentence")


@pytest.mark.parametrize("kind", [str, Path])
def test_a_calibration_is_named_by_its_path(tmp_path: Path, kind: type[str] | type[Path]) -> None:
    """The path may be a text, as everywhere else."""
    made = calibration([0.0] * 99, digest=ScriptedClassifier.digest)
    assert calibration_for(ScriptedClassifier(), "sentence", kind(made.save(tmp_path))) == made


def test_a_calibration_object_is_checked_as_a_file_is() -> None:
    """It too belongs to one classifier and one way of cutting steps."""
    with pytest.raises(CalibrationError, match="calibrate again"):
        calibration_for(load_classifier("keyword"), "sentence", calibration([0.0] * 99))


def test_statistics_are_in_order() -> None:
    """The rank of a threshold is found by position."""
    with pytest.raises(ValueError, match="sorted"):
        Calibration(classifier="x", digest="d", segmenter="s", population="p", statistics=(2.0, 1.0))


@pytest.mark.parametrize("margin", [float("nan"), float("inf")])
def test_a_margin_that_no_evidence_could_exceed_is_refused(margin: float) -> None:
    """The channel would never raise an alarm, and nobody would know."""
    with pytest.raises(ValueError, match="finite"):
        Calibration(
            classifier="x",
            digest="d",
            segmenter="s",
            population="p",
            statistics=(),
            margins={"answer": margin},
        )
