"""docs/judges.md says what there is."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from textwrap import indent

import pytest

from undertow.classifiers.guards import FAMILIES
from undertow.classifiers.guards.family import SAID
from undertow.classifiers.guards.served import KEY
from undertow.classifiers.naming import PREFIXES
from undertow.cli.classifiers import classifiers


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page."""
    return (root / "docs" / "judges.md").read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    """The examples of Python."""
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


def test_every_family_has_its_row(page: str) -> None:
    """The table has each family once, with the number of earlier steps that it is shown."""
    rows = re.findall(r"^\| (`[^|]+`) \|[^|]+\|[^|]+\| (\d+) \|$", page, flags=re.MULTILINE)
    told = {name: int(context) for names, context in rows for name in re.findall(r"`([^`]+)`", names)}
    assert told == {name: family.context for name, family in FAMILIES.items()}


def test_every_form_is_shown(page: str) -> None:
    """Each way to name a judge has its row in the first table."""
    assert set(re.findall(r"^\| `(\w+):", page, flags=re.MULTILINE)) == set(PREFIXES)


def test_the_list_is_what_the_command_prints(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page shows what `undertow classifiers` prints where no other package is installed."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("undertow.classifiers.registry._points", dict)
    classifiers()
    assert indent(capsys.readouterr().out.rstrip("\n"), "    ") in page


def test_names_and_numbers(page: str) -> None:
    """The variable for the key and the weight of a bare word are those of the code."""
    assert f"`{KEY}`" in page
    assert f"counts {SAID}" in page


def test_a_classifier_of_your_own(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example passes the checks as it stands."""
    (block,) = [one for one in blocks(page) if "class MyClassifier" in one]
    (tmp_path / "my_classifier_of_the_page.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("my_classifier_of_the_page").test_my_classifier()


def test_what_does_not_run_says_so(page: str) -> None:
    """A placeholder in an example of Python is marked in its line, or shown for what may stand there."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    marked = [line for line in lines if "# put in: " in line]
    assert len(marked) == 3
    assert [line for line in lines if "org/name" in line and line not in marked] == []


def test_examples_import_what_there_is(page: str) -> None:
    """The examples parse, and what they import from undertow exists."""
    found = [
        (node.module, alias.name)
        for block in blocks(page)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("undertow")
        for alias in node.names
    ]
    assert found
    for module, name in found:
        assert hasattr(importlib.import_module(str(module)), name)
