"""The benchmarks as scripts: how they end without the labelled corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_CORPUS = {"amplification.py", "live.py", "serve.py"}
"""The scripts that never read it."""


@pytest.mark.parametrize("arguments", [["crossvalidate.py", "keyword"], ["audit.py", "workers"]])
def test_without_the_corpus_a_script_ends_with_one_line(
    root: Path, tmp_path: Path, arguments: list[str]
) -> None:
    """It names what is missing and how to provide it, with status 2."""
    run = subprocess.run(
        [sys.executable, str(root / "benchmarks" / arguments[0]), *arguments[1:]],
        env={**os.environ, "UNDERTOW_SHARED": str(tmp_path / "shared")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    (line,) = run.stderr.splitlines()
    assert str(tmp_path) in line
    assert "UNDERTOW_SHARED" in line


def test_every_script_that_reads_the_corpus_ends_so(root: Path) -> None:
    """All of them are run by the helper that reports errors."""
    scripts = {path.name: path.read_text(encoding="utf-8") for path in (root / "benchmarks").glob("*.py")}
    ends = {name: text.splitlines()[-1].strip() for name, text in scripts.items() if "__main__" in text}
    assert {name for name, end in ends.items() if end != "run(main)"} == WITHOUT_CORPUS
