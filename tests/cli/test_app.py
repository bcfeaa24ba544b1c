"""The command line as a whole: what becomes of errors, and the commands that only list."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import undertow
from undertow.cli.options import CRASHED, STATUSES

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


def test_an_error_forges_no_output(capsys: pytest.CaptureFixture[str], run: Run, tmp_path: Path) -> None:
    """The name of a file in a folder cannot move the cursor."""
    (tmp_path / "a\x1b[2J\u202eb.jsonl").write_text('{"zorp": 1}\n')
    assert run("audit", str(tmp_path)) == 2
    assert "a\ufffd[2J\ufffdb.jsonl has no known format" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [("zorp",), ("audit", "--zorp"), ("audit", "no/such/file.jsonl")], ids=" ".join
)
def test_wrong_usage_is_status_2(
    capsys: pytest.CaptureFixture[str], run: Run, arguments: tuple[str, ...]
) -> None:
    """A command, an option or a file that does not exist is wrong usage, said without a traceback."""
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("status", [0, 1, 3, None, "bye"])
def test_what_another_package_ends_is_never_a_verdict(
    monkeypatch: pytest.MonkeyPatch, run: Run, status: int | str | None
) -> None:
    """A package that leaves the interpreter has not judged anything."""

    def leave() -> None:
        raise SystemExit(status)

    monkeypatch.setattr("undertow.monitor.audit.readers.all_readers", leave)
    assert run("formats") == CRASHED


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (EOFError, CRASHED)])
def test_what_typer_ends_is_never_a_verdict(
    monkeypatch: pytest.MonkeyPatch, run: Run, error: type[BaseException], status: int
) -> None:
    """Typer catches Ctrl-C, and a file that ends where it should not, for which it would exit with 1."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("undertow.monitor.audit.readers.all_readers", fail)
    assert run("formats") == status


@pytest.mark.parametrize("argument", ["--version", "formats"])
def test_a_closed_pipe_is_never_a_verdict(argument: str) -> None:
    """Where nobody reads what is printed the status is 2, and not the 1 of typer and of rich."""
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with os.fdopen(write, "w") as pipe:
        made = subprocess.run(
            [sys.executable, "-m", "undertow", argument],
            check=False, stdout=pipe, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
    assert (made.returncode, made.stderr) == (2, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("argument", ["--version", "formats"])
def test_a_full_disk_is_no_crash(argument: str) -> None:
    """Where what is printed cannot be written, one line says so."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with Path("/dev/full").open("w") as full:
        made = subprocess.run(
            [sys.executable, "-m", "undertow", argument],
            check=False, stdout=full, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
    assert (made.returncode, made.stderr) == (2, "undertow: cannot write: No space left on device\n")


@pytest.mark.parametrize("arguments", [(), ("audit",), ("watch",)], ids=str)
def test_help_names_every_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run, arguments: tuple[str, ...]
) -> None:
    """One list says what each exit status means, a line each: verdicts, wrong usage, a crash, Ctrl-C."""
    monkeypatch.setenv("COLUMNS", "120")
    assert run(*arguments, "--help") == 0
    shown = {line.strip() for line in capsys.readouterr().out.splitlines()}
    told = [line.strip() for line in STATUSES.splitlines()]
    assert set(told) <= shown
    assert {int(line.split()[0]) for line in told if line[0].isdigit()} == VERDICTS | {2, CRASHED, 130}


STUDIES = {
    "study amplification": ("study", "t.jsonl"),
    "study plan": ("study", "--out", "plan"),
    "study finetuning": ("finetuning",),
    "study sdd evaluate": ("sdd", "a-model", "--prompts", "p.jsonl", "--out", "out"),
}
"""The studies, the extra that each needs, and arguments that it takes."""


@pytest.mark.parametrize("command", STUDIES)
def test_studies_name_the_extra_that_they_need(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run, command: str
) -> None:
    """Where nothing is installed each command names one extra."""
    monkeypatch.delitem(sys.modules, "undertow.studies.amplification", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    extra, *arguments = STUDIES[command]
    assert run(*command.split(), *arguments) == 2
    assert f"undertow[{extra}]" in capsys.readouterr().err


@pytest.mark.parametrize("command", STUDIES)
def test_that_extra_holds_all_and_is_told(root: Path, command: str) -> None:
    """The extra that a study names holds what its page is made with, and the README names it as well."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, extra = project["optional-dependencies"], STUDIES[command][0]
    assert set(extras["study"]) <= set(extras[extra])
    told = (root / "README.md").read_text(encoding="utf-8").splitlines()
    study = " ".join(command.split()[:2])
    assert any(f"`undertow {study} " in line and f"undertow[{extra}]" in line for line in told)


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


def test_classifiers_counts_members(capsys: pytest.CaptureFixture[str], run: Run) -> None:
    """An ensemble has no weights of its own; its size is that of the members it needs."""
    assert run("classifiers") == 0
    rows = [re.findall(r"(step-\w+) .* ([\d.]+) MB", line) for line in capsys.readouterr().out.splitlines()]
    sizes = {name: float(size) for row in rows for name, size in row}
    assert sizes["step-ensemble"] == pytest.approx(sizes["step-encoder"] + sizes["step-lexical"], abs=0.2)
    assert sizes["step-robust"] > sizes["step-encoder"]


def test_classifiers_shows_whole_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    """A name is there to be copied, also from a narrow terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run("classifiers") == 0
    shown = capsys.readouterr().out
    assert [form for form in import_module("undertow.classifiers.naming").FORMS if form not in shown] == []
