"""What ships: the wheel's contents, and that what is in it works where nothing else is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("classifiers", "cli", "data", "monitor", "studies")
DATA = (
    "py.typed",
    "data/labels.md",
    "data/samples/*",
    "data/samples/*/*",
    "classifiers/weights/*/*",
    "classifiers/weights/*/*/*",
    "monitor/report/*.css",
    "monitor/report/*.j2",
    "monitor/report/*.js",
    "studies/amplification/*.css",
    "studies/amplification/*.j2",
    "studies/finetuning/weights/*/*",
)
TRIED_ON_THE_WHEEL = (
    "tests/test_surface.py",
    "tests/cli/test_app.py",
    "tests/classifiers/test_store.py",
)
MADE = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", ".coverage", "build", "dist", "*.egg-info", "__pycache__"
)
"""What stands in a checkout without being part of it: environments, caches, builds."""


def clean() -> dict[str, str]:
    """Return the environment without what would let a checkout leak in."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def repository() -> Iterator[Path]:
    """Yield every file of the checkout that people wrote."""
    for folder, folders, files in os.walk(ROOT):
        left_out = MADE(folder, folders)
        folders[:] = [name for name in folders if name not in left_out]
        yield from (Path(folder, name) for name in files)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel; made from a copy, so that the checkout stays as it is."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, place / "source", ignore=MADE, symlinks=True)
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place)]
    subprocess.run([sys.executable, *build, str(place / "source")], check=True, env=clean())
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment with the wheel in it.

    The dependencies are those of the running one. Its site-packages stand on the path through
    a .pth file, which does not follow the .pth files in it: an editable undertow stays outside.
    """
    place = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    scripts = sysconfig.get_path("scripts", "venv", vars={"base": str(place), "platbase": str(place)})
    python = Path(scripts, "python")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run(pip, check=True, env=clean())
    theirs = sysconfig.get_path("purelib", "venv", vars={"base": str(place), "platbase": str(place)})
    Path(theirs, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def ran(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the clean environment's interpreter."""
    command = [str(installed), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, env=clean())


def test_the_list_of_packages_is_what_is_on_disk() -> None:
    """A subpackage that pyproject.toml forgets would be missing from the wheel alone."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = settings["tool"]["setuptools"]["packages"]
    on_disk = {
        path.parent.relative_to(ROOT).parts for room in ROOMS for path in (ROOT / room).rglob("__init__.py")
    }
    assert sorted(listed) == sorted(["undertow", *(".".join(("undertow", *parts)) for parts in on_disk)])


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every module and every data file ships; tests, benchmarks, docs and build files do not."""
    names = zipfile.ZipFile(wheel).namelist()
    source = wheel.parent / "source"
    code = [*source.glob("*.py"), *(path for room in ROOMS for path in (source / room).rglob("*.py"))]
    data = [path for pattern in DATA for path in source.glob(pattern) if path.is_file()]
    expected = {f"undertow/{path.relative_to(source).as_posix()}" for path in [*code, *data]}
    assert {name for name in names if ".dist-info/" not in name} == expected


@pytest.mark.parametrize(
    "pattern",
    [
        r"undertow/py\.typed",
        r"undertow/data/labels\.md",
        r"undertow/data/samples/.+\.jsonl",
        r"undertow/classifiers/weights/step-encoder/.+\.onnx",
        r"undertow/classifiers/weights/step-encoder/classifier\.json",
        r"undertow/monitor/report/.+\.j2",
        r".+\.dist-info/licenses/LICENSE",
        r".+\.dist-info/licenses/NOTICE",
    ],
)
def test_the_wheel_holds_what_the_package_needs(wheel: Path, pattern: str) -> None:
    """What is no Python ships too."""
    assert any(re.fullmatch(pattern, name) for name in zipfile.ZipFile(wheel).namelist())


def test_the_wheel_takes_one_name_only(installed: Path, tmp_path: Path) -> None:
    """The folders' bare names stay the user's; `undertow` comes from the wheel."""
    code = "import importlib.util as u, undertow; print(undertow.__file__)\n"
    code += f"print([name for name in {[*ROOMS, 'tests', 'errors']} if u.find_spec(name)])"
    file, taken = ran(installed, "-c", code, cwd=tmp_path).stdout.splitlines()
    assert Path(file).is_relative_to(installed.parent.parent)
    assert taken == "[]"


def test_a_users_own_files_do_not_shadow_the_package(installed: Path, tmp_path: Path) -> None:
    """A `monitor.py` beside the user's script is not the monitor."""
    for name in (*ROOMS, "errors"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n", encoding="utf-8")
    run = ran(installed, "-c", "import undertow; print(undertow.Monitor.__module__)", cwd=tmp_path)
    assert run.stdout.strip() == "undertow.monitor.monitor", run.stderr


def test_the_wheel_passes_a_part_of_the_suite(installed: Path, tmp_path: Path) -> None:
    """The tests hold for what users install."""
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    run = ran(
        installed, "-m", "pytest", *options, *(str(ROOT / name) for name in TRIED_ON_THE_WHEEL), cwd=tmp_path
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\d+ passed", run.stdout)


def test_the_command_and_the_module_are_the_same(installed: Path, tmp_path: Path) -> None:
    """`undertow` and `python -m undertow` both say the version that the wheel's name says."""
    command = subprocess.run(
        [str(installed.with_name("undertow")), "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command.stdout == ran(installed, "-m", "undertow", "--version", cwd=tmp_path).stdout
    assert re.fullmatch(r"undertow \d+\.\d+\.\d+\n", command.stdout)


def test_the_wheel_judges_its_own_samples(installed: Path, tmp_path: Path) -> None:
    """An audit of the shipped samples ends in a verdict, whichever."""
    code = "import pathlib, undertow.data; print(pathlib.Path(undertow.data.__file__).with_name('samples'))"
    samples = ran(installed, "-c", code, cwd=tmp_path).stdout.strip()
    run = ran(installed, "-m", "undertow", "audit", samples, "--out", "verdicts.jsonl", cwd=tmp_path)
    assert run.returncode in {0, 1, 3}, run.stderr
    assert "undertow.verdict/1" in (tmp_path / "verdicts.jsonl").read_text(encoding="utf-8")


def test_entry_points_lead_somewhere() -> None:
    """What other programs find us by exists: the command, the spaCy component, the scanner for Scout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    assert set(groups) == {"console_scripts", "inspect_ai", "spacy_factories"}
    for group, points in groups.items():
        for name, value in points.items():
            found = EntryPoint(name, value, group).load()
            assert callable(found) or group == "inspect_ai"  # which is a module to import


def test_constraints_are_exact() -> None:
    """What `make` installs is pinned, one plain version a line."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line)] == []
    assert "torch==2.13.0" in lines


def test_no_file_names_a_place_on_one_machine() -> None:
    """Paths of the machine that something was written on help nobody else."""
    places = re.compile(rb"(?<![\w.:/-])/(work|root)/")
    assert [path for path in repository() if places.search(path.read_bytes())] == []
