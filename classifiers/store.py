"""Read and write the folder of a classifier, whose digest identifies it.

    classifier.json      {"format": "undertow.classifier/1", "kind", "name", "settings", "files"}
    weights.safetensors  and whatever else `files` lists, each with its SHA-256
    card.md              for people; not part of the digest
    calibration.json     the monitor's calibration; not part of the digest

Since the manifest holds the SHA-256 of every file, the digest of the manifest identifies the
classifier exactly. Files are data (safetensors, ONNX, JSON, text), never code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import UsageError, WeightsError, first_line

__all__ = ["MANIFEST", "Manifest", "read_manifest", "unloadable", "write_manifest"]

MANIFEST = "classifier.json"
"""The name of the manifest; a folder with this file is a classifier."""

SUFFIXES = frozenset({".safetensors", ".onnx", ".json", ".txt"})
"""The allowed suffixes of a classifier's files: formats that hold data and cannot run code."""

OUTSIDE_THE_DIGEST = frozenset({MANIFEST, "calibration.json", "card.md"})


def _plain_name(name: str) -> str:
    """Validate that a name is that of a data file directly inside the folder."""
    if not name or name != name.strip() or name.startswith(".") or any(c in name for c in "/\\:\0"):
        raise ValueError(f"{name!r} is not a plain file name")
    if Path(name).suffix not in SUFFIXES or name in OUTSIDE_THE_DIGEST:
        raise ValueError(f"{name!r} is reserved, or is not a {', '.join(sorted(SUFFIXES))} file")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]


def _finite(settings: dict[str, Any]) -> dict[str, Any]:
    """Validate that settings can be written as JSON, from which the digest is computed."""
    json.dumps(settings, allow_nan=False)
    return settings


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The contents of `classifier.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["undertow.classifier/1"] = "undertow.classifier/1"
    kind: str = Field(min_length=1)
    """The kind of classifier, such as `lexical` or `encoder`; it decides which code reads the folder."""
    name: str = Field(min_length=1)
    """The name of the classifier in verdicts."""
    settings: Annotated[dict[str, Any], AfterValidator(_finite)] = Field(default_factory=dict)
    """What the kind needs besides its weights; plain JSON."""
    files: dict[FileName, Sha256] = Field(default_factory=dict)
    """The SHA-256 of each file, in hex."""

    @property
    def canonical(self) -> str:
        """The manifest as JSON with sorted keys and no spaces, from which the digest is computed."""
        return json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def digest(self) -> str:
        """Identifies the classifier exactly: `sha256:` and 64 hex digits."""
        return "sha256:" + hashlib.sha256(self.canonical.encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a classifier's manifest and check every file against it.

    Raises:
        WeightsError: if the manifest or a file is missing or cannot be read, or a digest is wrong.
    """
    manifest = _parse(folder / MANIFEST)
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            found = _sha256(path)
        except OSError as error:
            raise WeightsError(f"cannot read {path}: {error.strerror}; {_REMEDY}") from error
        if found != expected:
            raise WeightsError(
                f"{path}: its SHA-256 is {found[:12]}…, {MANIFEST} says {expected[:12]}…; {_REMEDY}"
            )
    return manifest


def write_manifest(
    folder: Path, *, kind: str, name: str, settings: Mapping[str, Any], files: Iterable[str]
) -> Manifest:
    """Write `classifier.json` for files that are already in the folder.

    Args:
        folder: The classifier's folder.
        kind: The kind of classifier, a key of `registry.KINDS`.
        name: The name of the classifier in verdicts.
        settings: What the kind needs besides its weights; plain JSON.
        files: Names of files in the folder; no paths.

    Raises:
        UsageError: if a manifest cannot hold a name or a setting.
        WeightsError: if a file cannot be read.
    """
    try:
        digests = {_plain_name(file): _sha256(folder / file) for file in files}
        manifest = Manifest(
            kind=kind, name=name, settings=json.loads(json.dumps(dict(settings))), files=digests
        )
    except OSError as error:
        raise WeightsError(
            f"cannot read {error.filename}: {error.strerror}; write the files before the manifest"
        ) from error
    except (ValidationError, ValueError, TypeError) as error:
        raise UsageError(f"cannot write a manifest for {folder}: {first_line(error)}") from error
    text = json.dumps(manifest.model_dump(), indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return manifest


def unloadable(folder: Path, what: str, error: Exception) -> WeightsError:
    """Return the error of a folder that matches its manifest but cannot be loaded as a classifier."""
    return WeightsError(f"cannot load {what} from {folder}: {first_line(error)}; {_REMEDY}")


_REMEDY = "fetch or train the classifier again, and do not edit its files by hand"


def _parse(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WeightsError(
            f"cannot read {path}: {error.strerror}; a classifier is a folder that contains a {MANIFEST}"
        ) from error
    except ValidationError as error:
        raise WeightsError(f"{path}: {first_line(error)}; {_REMEDY}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
