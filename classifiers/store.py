"""A classifier's folder: what it holds, and the digest that names it.

    classifier.json      {"format": "undertow.classifier/1", "kind", "name", "settings", "files"}
    weights.safetensors  and whatever else `files` lists, each with its SHA-256
    card.md              for people; not part of the digest
    calibration.json     the monitor's threshold; not part of the digest

Since the manifest holds the digest of every file, the digest of the manifest names the
classifier exactly. Files are data (safetensors, ONNX, JSON), never code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import UsageError, WeightsError

__all__ = ["MANIFEST", "Manifest", "read_manifest", "write_manifest"]

MANIFEST = "classifier.json"
"""The file that makes a folder a classifier."""

SUFFIXES = frozenset({".safetensors", ".onnx", ".json", ".txt"})
"""What the files of a classifier may be: formats that hold data and cannot run code."""

OUTSIDE_THE_DIGEST = frozenset({MANIFEST, "calibration.json", "card.md"})


def _plain_name(name: str) -> str:
    """Let through only the name of a data file that stands in the folder itself."""
    if not name or name != name.strip() or name.startswith(".") or any(c in name for c in "/\\:\0"):
        raise ValueError(f"{name!r} is not the plain name of a file in the classifier's folder")
    if Path(name).suffix not in SUFFIXES or name in OUTSIDE_THE_DIGEST:
        raise ValueError(f"{name!r} cannot be one of a classifier's files ({', '.join(sorted(SUFFIXES))})")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]


def _finite(settings: dict[str, Any]) -> dict[str, Any]:
    """Let through only what JSON can hold, of which the digest is taken."""
    json.dumps(settings, allow_nan=False)
    return settings


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What `classifier.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["undertow.classifier/1"] = "undertow.classifier/1"
    kind: str = Field(min_length=1)
    """Which code reads the folder, such as `lexical` or `encoder`."""
    name: str = Field(min_length=1)
    """What the classifier is called in verdicts."""
    settings: Annotated[dict[str, Any], AfterValidator(_finite)] = Field(default_factory=dict)
    """Whatever the kind needs to know beside its weights; plain JSON."""
    files: dict[FileName, Sha256] = Field(default_factory=dict)
    """The SHA-256 of each file, in hex."""

    @property
    def canonical(self) -> str:
        """The manifest as JSON with sorted keys and no spaces: what the digest is taken of."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def digest(self) -> str:
        """Names the classifier exactly: `sha256:` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self.canonical.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a classifier's manifest and check every file against it.

    Raises:
        WeightsError: no manifest, not one that can be read, a file missing, or a wrong digest.
    """
    manifest = _parse(folder / MANIFEST)
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            found = _sha256(path)
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error}); {_REMEDY}") from error
        if found != expected:
            raise WeightsError(
                f"{path}: its SHA-256 is {found[:12]}…, {MANIFEST} says {expected[:12]}…; {_REMEDY}"
            )
    return manifest


def write_manifest(
    folder: Path, *, kind: str, name: str, settings: Mapping[str, Any], files: Iterable[str]
) -> Manifest:
    """Write `classifier.json` for files that already stand in the folder.

    Args:
        folder: Where the classifier stands.
        kind: Which code reads it.
        name: What it is called in verdicts.
        settings: Plain JSON.
        files: Names of files in the folder; no paths.

    Raises:
        UsageError: a name or a setting that a manifest cannot hold.
        WeightsError: a file that cannot be read.
    """
    try:
        digests = {_plain_name(file): _sha256(folder / file) for file in files}
        manifest = Manifest(
            kind=kind, name=name, settings=json.loads(json.dumps(dict(settings))), files=digests
        )
    except OSError as error:
        raise WeightsError(
            f"{error.filename}: cannot be read; write the files before the manifest"
        ) from error
    except (ValidationError, ValueError, TypeError) as error:
        raise UsageError(f"no manifest can be written for {folder}: {error}") from error
    text = json.dumps(manifest.model_dump(), indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


_REMEDY = "fetch or train the classifier again, and do not edit its files by hand"


def _parse(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be read ({error.strerror}); a classifier is a folder that holds a {MANIFEST}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WeightsError(f"{path}: {place}: {first['msg']}; {_REMEDY}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
