"""How each kind of classifier is trained: labelled traces in, a classifier's folder out.

Thin on purpose: what training is stands in `training` and `training_lexical`. The network trains on a
CUDA device where torch finds one, else on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from .corpus import LabelledTrace

__all__ = ["RECIPES", "Progress", "Train"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it lies behind, and of how much."""
Train: TypeAlias = Callable[[Sequence[LabelledTrace], Path, Progress], None]
"""Trains on traces and writes a classifier's folder."""


def train_lexical(traces: Sequence[LabelledTrace], folder: Path, progress: Progress) -> None:
    """Train words and letter sequences; takes minutes and no extra packages."""
    from .training_lexical import fit_lexical

    progress("fitting", 0, 1)
    fit_lexical(traces).save(folder)
    progress("fitting", 1, 1)


def train_encoder(traces: Sequence[LabelledTrace], folder: Path, progress: Progress) -> None:
    """Train the network, and export it, so that what is measured is what is used; needs `train`.

    Its lower layers begin as those that ship, which give nearly the states of the layers that it is
    trained above.
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
    read_manifest(shipped)  # before hours of training: damaged weights are refused
    trained = train(traces, progress=say)
    trained = finish(trained, network_from(shipped).lower, traces, progress=say)
    from .export import export

    folder.mkdir(parents=True, exist_ok=True)
    export(trained, folder)


RECIPES: Mapping[str, Train] = MappingProxyType({"lexical": train_lexical, "encoder": train_encoder})
"""A kind that can be trained → how."""
