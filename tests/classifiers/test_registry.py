"""Names, folders and entry points become classifiers, each loaded once."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from undertow.classifiers import registry
from undertow.classifiers.contract import LABELS, StepClassifier, StepInput
from undertow.classifiers.keyword import KeywordClassifier
from undertow.classifiers.registry import available, load_classifier
from undertow.classifiers.store import MANIFEST, write_manifest
from undertow.errors import UsageError, WeightsError

NAMES = [info.name for info in available()]
LEXICAL = registry.WEIGHTS / "step-lexical"


def make_zorp() -> StepClassifier:
    """What an entry point of another package would do."""
    return KeywordClassifier()


def make_nothing() -> object:
    """An entry point that gives no classifier."""
    return object()


def make_broken() -> object:
    """An entry point of a package that lacks what it needs."""
    raise ModuleNotFoundError("No module named 'glim'")


def make_exit() -> object:
    """An entry point of a package that leaves the interpreter."""
    raise SystemExit(0)


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four entry points, as if as many packages were installed."""
    made = {"zorp": make_zorp, "nothing": make_nothing, "broken": make_broken, "exit": make_exit}
    points = [EntryPoint(name, f"{__name__}:{name}", registry.ENTRY_POINTS) for name in made]
    monkeypatch.setattr(EntryPoint, "load", lambda self: made[self.name])
    monkeypatch.setattr(
        registry, "entry_points", lambda group: points if group == registry.ENTRY_POINTS else []
    )


def test_shipped() -> None:
    """The baseline and the lexical classifier are always there."""
    assert {"keyword", "step-lexical"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_loads(name: str) -> None:
    """Every name listed loads, answers to its name, and knows the folder of its weights."""
    info = next(info for info in available() if info.name == name)
    classifier = load_classifier(name)
    assert classifier.name == name
    assert info.folder in (None, getattr(classifier, "folder", None))
    assert info.description


@pytest.mark.parametrize("name", NAMES)
def test_loaded_once(name: str) -> None:
    """The same name gives the same object, also from many threads at once."""
    with ThreadPoolExecutor(8) as pool:
        assert len({id(classifier) for classifier in pool.map(load_classifier, [name] * 16)}) == 1


def test_name_and_folder_are_one() -> None:
    """A built-in name and the path of its folder give the same object."""
    assert load_classifier(LEXICAL) is load_classifier(str(LEXICAL)) is load_classifier("step-lexical")


@pytest.mark.parametrize(
    "name",
    ["zorp", "", "keyword ", "no/such/folder", "a\0", "~no-such-user/x", "z" * 9999, Path("keyword")],
    ids=lambda name: repr(name)[:20],
)
def test_unknown(name: str | Path) -> None:
    """What is neither a name nor a folder is wrong usage, and the message lists what there is."""
    with pytest.raises(
        UsageError, match="keyword; or give the path" if name != "zorp" else "step-lexical, keyword"
    ):
        load_classifier(name)


def test_folder_without_classifier(tmp_path: Path) -> None:
    """A folder that holds no classifier is an error of the weights."""
    with pytest.raises(WeightsError, match=MANIFEST):
        load_classifier(tmp_path)


def test_unknown_kind(tmp_path: Path) -> None:
    """A kind from the future is refused by its name."""
    write_manifest(tmp_path, kind="oracle", name="zorp", settings={}, files=[])
    with pytest.raises(WeightsError, match=r"oracle.*lexical"):
        load_classifier(tmp_path)


def test_tampered_after_loading(tmp_path: Path) -> None:
    """A folder that was changed is checked again, although it was loaded before."""
    for file in LEXICAL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    load_classifier(tmp_path)
    name = next(iter(json.loads((tmp_path / MANIFEST).read_text())["files"]))
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(WeightsError, match=name):
        load_classifier(tmp_path)


@pytest.mark.usefixtures("entry_points")
def test_entry_point() -> None:
    """An entry point is listed and loads by its name, once."""
    info = next(info for info in available() if info.name == "zorp")
    assert (info.kind, info.folder) == ("entry-point", None)
    classifier = load_classifier("zorp")
    assert classifier is load_classifier("zorp")
    assert classifier.predict_proba([StepInput("a zorp")]).shape == (1, len(LABELS))


@pytest.mark.usefixtures("entry_points")
def test_entry_point_that_gives_no_classifier() -> None:
    """An entry point whose result is no classifier is refused when it is loaded."""
    with pytest.raises(UsageError, match=r"'nothing' .* returns is no StepClassifier"):
        load_classifier("nothing")


@pytest.mark.usefixtures("entry_points")
def test_entry_point_that_breaks() -> None:
    """Which one it is and what went wrong is said in a line."""
    with pytest.raises(UsageError, match=r"cannot load .* 'broken' .*: ModuleNotFoundError: .*'glim'"):
        load_classifier("broken")
    with pytest.raises(UsageError, match=r"cannot load .* 'exit' .*: SystemExit: 0"):
        load_classifier("exit")


def test_listing_is_light() -> None:
    """Listing the classifiers imports no code of any classifier, nor scikit-learn."""
    code = (
        "import sys; from undertow.classifiers import available; available();"
        "print({'sklearn', 'torch', 'onnxruntime', 'undertow.classifiers.lexical'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_keyword_knows_when_it_saw_nothing() -> None:
    """A step without text is not judged."""
    assert np.isnan(load_classifier("keyword").predict_proba([StepInput(" \n")])).all()
