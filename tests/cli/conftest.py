"""The command line in an empty folder, with another package's classifier installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.cli import main

PLUGIN = '''
from pathlib import Path
import numpy as np
from undertow.classifiers.base import StepClassifierBase

class Scripted(StepClassifierBase):
    """Says drift where a step holds zorp, and cannot judge one that holds murk."""

    name, digest, folder = "scripted", "sha256:" + "0" * 64, Path(__file__).parent

    def predict_proba(self, steps, /):
        rows = np.full((len(steps), 4), 0.01)
        for row, step in zip(rows, steps):
            row[2 if "zorp" in step.text else 0] = 0.97
            row[:] = np.nan if "murk" in step.text else row
        return rows
'''
CALIBRATION = {
    "classifier": "scripted",
    "digest": "sha256:" + "0" * 64,
    "segmenter": "sentence",
    "population": "made up",
    "statistics": [1.0] * 99,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Calls `undertow` with arguments; gives the exit status."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["undertow", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        assert isinstance(code, int)
        return code

    return call


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]) -> Callable[..., int]:
    """Runs `undertow` in an empty folder, with another package's classifier; gives the exit status."""
    plugin = tmp_path / "plugin"
    (plugin / "scripted-1.0.dist-info").mkdir(parents=True)
    (plugin / "scripted-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: scripted\nVersion: 1.0\n"
    )
    (plugin / "scripted-1.0.dist-info" / "entry_points.txt").write_text(
        "[undertow.classifiers]\nscripted = scripted_classifier:Scripted\n"
    )
    (plugin / "scripted_classifier.py").write_text(PLUGIN)
    (plugin / "calibration.json").write_text(json.dumps(CALIBRATION))
    monkeypatch.syspath_prepend(plugin)
    monkeypatch.setenv("COLUMNS", "80")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return run
