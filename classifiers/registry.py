"""Load classifiers by name.

A name is a built-in one, the path of a folder that `store` can read, or an entry point of the
group `undertow.classifiers`: a function without arguments that returns a classifier:

    [project.entry-points."undertow.classifiers"]
    my-classifier = "my_package:make_classifier"

Other judges have names such as `hf:org/name@revision`; `naming` lists the forms.

The code of a kind is imported only when a classifier of that kind is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

from ..errors import UndertowError, UsageError, WeightsError
from .contract import StepClassifier, must_follow
from .devices import device_named
from .naming import PREFIXES, is_named, named
from .store import MANIFEST, read_manifest

__all__ = ["DEFAULT", "ENTRY_POINTS", "KINDS", "ClassifierInfo", "available", "load_classifier"]

DEFAULT = "step-ensemble"
"""The classifier that is used unless another is named."""

ENTRY_POINTS = "undertow.classifiers"
"""The entry-point group in which other packages offer classifiers."""

WEIGHTS = Path(__file__).parent / "weights"

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "cascade": ".cascade:CascadeClassifier",
        "encoder": ".encoder:EncoderClassifier",
        "ensemble": ".ensemble:EnsembleClassifier",
        "lexical": ".lexical:LexicalClassifier",
        "probe": ".probe:ProbeClassifier",
    }
)
"""The kind of a folder → the class whose `from_folder(folder, manifest)` loads it."""

ON_DEVICE: Mapping[str, str] = MappingProxyType(
    {"encoder": ".torch_encoder:TorchEncoder", "ensemble": KINDS["ensemble"]}
)
"""The kind of a folder → the class whose `from_folder(folder, manifest, device)` loads it on torch."""


@dataclass(frozen=True, slots=True)
class ClassifierInfo:
    """A classifier that can be loaded by name."""

    name: str
    kind: str
    description: str
    folder: Path | None = None
    """The classifier's folder; None if it has none."""


_BUILT_IN = (
    ClassifierInfo("step-ensemble", "ensemble", "step-encoder and step-lexical combined",
                   WEIGHTS / "step-ensemble"),
    ClassifierInfo("step-robust", "ensemble", "the same, less accurate, but harder to mislead",
                   WEIGHTS / "step-robust"),
    ClassifierInfo("step-encoder", "encoder", "a small text encoder that reads a step in its context",
                   WEIGHTS / "step-encoder"),
    ClassifierInfo("step-lexical", "lexical", "word and character n-grams of a step and its context",
                   WEIGHTS / "step-lexical"),
    ClassifierInfo("keyword", "keyword", "lists of phrases; a weak baseline, nothing learned"),
)  # fmt: skip

_loaded: dict[tuple[str, str], StepClassifier] = {}
_loading = RLock()


def available() -> list[ClassifierInfo]:
    """Return every classifier that can be loaded by name: the built-in ones, then entry points."""
    here = [info for info in _BUILT_IN if info.folder is None or (info.folder / MANIFEST).is_file()]
    others = [
        ClassifierInfo(name, "entry-point", f"provided by {point.value}")
        for name, point in sorted(_points().items())
        if name not in {info.name for info in _BUILT_IN}
    ]
    return here + others


def load_classifier(name_or_path: str | Path, device: str | None = None) -> StepClassifier:
    """Load a classifier; a second call for the same one returns the same object.

    Args:
        name_or_path: A name that `available` lists, one of the forms of `naming`, such as
            `hf:org/name@revision`, or the path of a classifier's folder. A name that `available` lists
            wins over a folder of the same name; write `./name` for the folder.
        device: The torch device for an encoder, or for an ensemble with one: "cuda", "cpu"; "auto" for a
            GPU if there is one. None for onnxruntime on the CPU.

    Raises:
        UsageError: if it is neither a known name nor a folder, or cannot run on that device.
        WeightsError: if the folder is not a classifier, or its files do not match its manifest.
        MissingExtra: if the classifier needs an optional dependency.
    """
    with _loading:
        if isinstance(name_or_path, str):
            infos = {info.name: info for info in available()}
            if (info := infos.get(name_or_path)) is not None:
                return _load_named(info, device)
            if is_named(name_or_path):
                _as_it_is(name_or_path, device)
                return _once("named", name_or_path, lambda: _judge(name_or_path))
        folder = os.path.expanduser(name_or_path)
        if not os.path.isdir(folder):  # False for "" and for what cannot be a path at all
            raise UsageError(_unknown(name_or_path))
        return _load_folder(Path(folder), device)


def _load_named(info: ClassifierInfo, device: str | None) -> StepClassifier:
    if info.folder is not None:
        return _load_folder(info.folder, device)
    _as_it_is(info.name, device)
    if info.kind == "keyword":
        return _once("keyword", "", _resolve(".keyword:KeywordClassifier"))
    return _once("entry-point", info.name, lambda: _provided(info.name))


def _load_folder(folder: Path, device: str | None) -> StepClassifier:
    manifest = read_manifest(folder)
    if manifest.kind not in KINDS:
        raise WeightsError(
            f"{folder / MANIFEST}: unknown kind {manifest.kind!r} (known: {', '.join(KINDS)}); "
            "a newer version of undertow may know it"
        )
    if manifest.kind not in ON_DEVICE:
        _as_it_is(manifest.name, device)
        device = None
    device = device_named(device)
    reader = _resolve((KINDS if device is None else ON_DEVICE)[manifest.kind])
    where = () if device is None else (device,)
    # The digest is part of the key: after new training, a folder is loaded again.
    version = " ".join((manifest.digest, *where))
    return _once(str(folder.resolve()), version, lambda: reader.from_folder(folder, manifest, *where))


def _as_it_is(name: str, device: str | None) -> None:
    """Refuse a device for a classifier that does not let one be chosen."""
    if device not in (None, "auto"):
        raise UsageError(
            f"{name} cannot run on {device}: only encoders, such as step-encoder, and ensembles with one "
            "take a device; models of transformers use a GPU if there is one"
        )


def _judge(name: str) -> StepClassifier:
    """Build a judge from a name such as `hf:org/name@revision`."""
    parts = named(name)
    made: StepClassifier = _resolve(PREFIXES[parts.kind]).from_name(parts)
    return made


def _once(place: str, version: str, make: Callable[[], StepClassifier]) -> StepClassifier:
    key = (place, version)
    if key not in _loaded:
        _loaded[key] = make()
    return _loaded[key]


def _resolve(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module, __package__), attribute)


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _provided(name: str) -> StepClassifier:
    """Build the classifier of an entry point; refuse one that fails or does not follow the contract."""
    source = f"the entry point {name!r} of {ENTRY_POINTS}"
    try:
        return must_follow(_points()[name].load()(), f"what {source} returns")
    except UndertowError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"cannot load {source}: {type(error).__name__}: {error}; update or uninstall its package"
        ) from error


def _unknown(name: str | Path) -> str:
    known = ", ".join(info.name for info in available())
    return (
        f"unknown classifier {str(name)!r}; known: {known}; or give the path of a folder that contains a "
        f"{MANIFEST}, or a judge such as hf:org/name@revision"
    )
