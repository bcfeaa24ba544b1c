"""A classifier's folder holds what its manifest says, or does not load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from undertow.classifiers.store import MANIFEST, Manifest, read_manifest, write_manifest
from undertow.errors import UsageError, WeightsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small folder that is in order."""
    (tmp_path / "weights.json").write_text("[1, 2]")
    write_manifest(
        tmp_path, kind="lexical", name="zorp", settings={"b": 2, "a": [1.5]}, files=["weights.json"]
    )
    return tmp_path


def test_round_trip(folder: Path) -> None:
    """What was written is what is read, with the same digest."""
    manifest = read_manifest(folder)
    assert (manifest.kind, manifest.name, manifest.settings) == ("lexical", "zorp", {"b": 2, "a": [1.5]})
    assert list(manifest.files) == ["weights.json"]
    assert manifest.digest.startswith("sha256:") and len(manifest.digest) == 7 + 64


def test_digest_ignores_layout_and_what_is_beside(folder: Path) -> None:
    """Key order, white space, the card and the calibration do not change the digest."""
    before = read_manifest(folder).digest
    fields = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(dict(reversed(fields.items())), indent=7))
    (folder / "card.md").write_text("other words")
    (folder / "calibration.json").write_text("{}")
    assert read_manifest(folder).digest == before


@pytest.mark.parametrize(
    "change",
    [{"kind": "encoder"}, {"name": "other"}, {"settings": {}}, {"files": {"weights.json": "0" * 64}}],
    ids=lambda change: next(iter(change)),
)
def test_digest_names_the_content(folder: Path, change: dict[str, Any]) -> None:
    """Any change to what the manifest says changes the digest."""
    manifest = read_manifest(folder)
    assert manifest.model_copy(update=change).digest != manifest.digest


def test_changed_file(folder: Path) -> None:
    """A file that is not the one named is refused, by its name and with what to do."""
    (folder / "weights.json").write_text("[1, 3]")
    with pytest.raises(WeightsError, match=r"weights\.json.*SHA-256.*again"):
        read_manifest(folder)


def test_missing_file(folder: Path) -> None:
    """A file that is gone is named."""
    (folder / "weights.json").unlink()
    with pytest.raises(WeightsError, match=r"cannot read .*weights\.json"):
        read_manifest(folder)


def test_no_manifest(tmp_path: Path) -> None:
    """A folder without a manifest says what a classifier's folder is."""
    with pytest.raises(WeightsError, match=MANIFEST):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "undertow.classifier/2"},
        {"kind": 3},
        {"kind": ""},
        {"files": {"weights.json": "abc"}},
        {"files": {"../weights.json": "0" * 64}},
        {"extra": 1},
        {"settings": {"x": [float("inf")]}},
    ],
    ids=[
        "newer-format",
        "kind-not-text",
        "no-kind",
        "short-digest",
        "path-outside",
        "unknown-field",
        "infinite",
    ],
)
def test_broken_manifest(folder: Path, fields: dict[str, Any]) -> None:
    """A manifest that is not of the known shape is refused as weights, not as a crash."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | fields))
    with pytest.raises(WeightsError, match=MANIFEST):
        read_manifest(folder)


def test_manifest_that_is_not_json(folder: Path) -> None:
    """A manifest that is no JSON is refused as weights."""
    (folder / MANIFEST).write_bytes(b"\xff{")
    with pytest.raises(WeightsError, match=MANIFEST):
        read_manifest(folder)


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/x.json", "a/b.json", "a\\b.json", "C:x.json", "..", "", ".x.json", " x.json",
     "x\0.json", "x.pkl", "x.bin", "x", MANIFEST, "calibration.json", "card.md"],
)  # fmt: skip
def test_refused_names(tmp_path: Path, name: str) -> None:
    """A file is a data file in the folder itself: no path, no pickle, none of the files kept apart."""
    with pytest.raises(UsageError):
        write_manifest(tmp_path, kind="lexical", name="zorp", settings={}, files=[name])


def test_write_before_files(tmp_path: Path) -> None:
    """A manifest is not written for a file that is not there."""
    with pytest.raises(WeightsError, match=r"weights\.json"):
        write_manifest(tmp_path, kind="lexical", name="zorp", settings={}, files=["weights.json"])
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("settings", [{"x": float("nan")}, {"x": object()}], ids=["nan", "object"])
def test_settings_are_plain_json(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Settings that are not plain JSON are refused."""
    with pytest.raises(UsageError):
        write_manifest(tmp_path, kind="lexical", name="zorp", settings=settings, files=[])


def test_manifest_is_frozen() -> None:
    """A manifest cannot be changed after it was read."""
    manifest = Manifest(kind="lexical", name="zorp")
    with pytest.raises(ValueError, match="frozen"):
        manifest.kind = "encoder"
