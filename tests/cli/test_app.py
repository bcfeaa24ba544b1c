"""The command line as a whole: what becomes of errors, and the commands that only list."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import undertow
from undertow.cli.app import CRASHED

Run = Callable[..., int]

VERDICTS = {0, 1, 3}
"""The exit statuses that say something of transcripts."""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (undertow.UsageError("no such rate"), 2),
        (undertow.WeightsError("not those weights"), 2),
        (undertow.MissingExtra("reading Parquet", "parquet"), 2),
        (RuntimeError("a bug"), CRASHED),
        (MemoryError(), CRASHED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_is_never_a_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: Run,
    error: Exception,
    status: int,
) -> None:
    """An error of ours is one line and status 2; a bug shows where it is; neither exits like a verdict."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(import_module("undertow.cli.app"), "app", fail)
    assert run() == status
    assert status not in VERDICTS
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("Traceback" in shown.err) == (status == CRASHED)
    assert str(error) in shown.err


@pytest.mark.parametrize(
    "arguments", [("zorp",), ("audit", "--zorp"), ("audit", "no/such/file.jsonl")], ids=" ".join
)
def test_wrong_usage_is_status_2(
    capsys: pytest.CaptureFixture[str], run: Run, arguments: tuple[str, ...]
) -> None:
    """A command, an option or a file that does not exist is wrong usage, said without a traceback."""
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str], run: Run) -> None:
    """`undertow --version` says the package's version."""
    assert run("--version") == 0
    assert capsys.readouterr().out == f"undertow {undertow.__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str], run: Run, root: Path) -> None:
    """Each file in cli/ with a function of its own name is a command, and `--help` shows it."""
    assert run("--help") == 0
    shown = capsys.readouterr().out
    files = (root / "cli").glob("*.py")
    commands = [path.stem for path in files if f"\ndef {path.stem}(" in path.read_text(encoding="utf-8")]
    assert len(commands) >= 3
    assert [name for name in commands if name not in shown] == []


def test_classifiers_shows_digests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    """`undertow classifiers` names each classifier with the digest that its verdicts show."""
    monkeypatch.setenv("COLUMNS", "200")
    assert run("classifiers") == 0
    shown = capsys.readouterr().out
    for info in import_module("undertow.classifiers.registry").available():
        assert info.name in shown
        if info.kind != "entry-point":
            assert undertow.load_classifier(info.name).digest[:19] in shown
