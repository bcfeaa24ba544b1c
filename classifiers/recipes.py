"""The training recipe of each kind of classifier: labelled traces in, a classifier's folder out.

This module is thin on purpose: the training itself is in `training` and `training_lexical`. The network is
trained on a CUDA device if torch finds one, else on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from .corpus import LabelledTrace

__all__ = ["RECIPES", "Progress", "Train"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a description of the current work, how much of it is done, and the total."""
Train: TypeAlias = Callable[[Sequence[LabelledTrace], Path, Progress], None]
"""Trains on traces and writes a classifier's folder."""


def train_lexical(traces: Sequence[LabelledTrace], folder: Path, progress: Progress) -> None:
    """Train the lexical classifier; takes minutes and needs no extra packages."""
    from .training_lexical import fit_lexical

    progress("fitting", 0, 1)
    fit_lexical(traces).save(folder)
    progress("fitting", 1, 1)


def train_encoder(traces: Sequence[LabelledTrace], folder: Path, progress: Progress) -> None:
    """Train the network and export it, so that what is measured is what is used; needs the extra `train`.

    It is trained on frozen pretrained layers, which are then replaced by the shipped lower layers, whose
    states are nearly the same, and trained on as a whole.
    """
    from .rebuild import network_from
    from .registry import WEIGHTS
    from .store import read_manifest
    from .training import finish, train

    def say(state: Mapping[str, Any]) -> None:
        batches, epoch = int(state["batches"]), int(state["epoch"])
        what = "finishing" if state["lower_rate"] else "training"
        total = batches * int(state["epochs"])
        progress(f"{what}, loss {state['loss']:.3f}", epoch * batches + int(state["batch"]) + 1, total)

    shipped = WEIGHTS / "step-encoder"
    read_manifest(shipped)  # refuses damaged weights before hours of training
    trained = train(traces, progress=say)
    trained = finish(trained, network_from(shipped).lower, traces, progress=say)
    from .export import export

    folder.mkdir(parents=True, exist_ok=True)
    export(trained, folder)


RECIPES: Mapping[str, Train] = MappingProxyType({"lexical": train_lexical, "encoder": train_encoder})
"""The kinds of classifiers that can be trained → their training functions."""
