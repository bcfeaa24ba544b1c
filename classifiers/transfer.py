"""How a classifier reaches another process: as what it is loaded from, checked by its digest.

A pickle contains no weights, only a folder or a constructor's arguments; whoever unpickles it loads the
classifier again, and refuses one whose weights have changed since.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from .contract import StepClassifier
from .registry import load_classifier

if TYPE_CHECKING:  # the base needs scikit-learn, which a process that only sends steps does not load
    from .base import StepClassifierBase

__all__ = ["by_arguments", "loaded_again", "not_picklable"]


def by_arguments(classifier: StepClassifierBase) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return what pickles a classifier as its constructor's arguments, without the model that they name."""
    make = partial(type(classifier), **classifier.get_params(deep=False))
    return _made_again, (make, classifier.digest)


def not_picklable(classifier: StepClassifier, what: str) -> TypeError:
    """Return the error of a classifier that was given a loaded object, such as "its own model"."""
    return TypeError(
        f"a {type(classifier).__name__} with {what} cannot be pickled; create it in the other process"
    )


def loaded_again(source: str | Path, digest: str, device: str | None = None) -> StepClassifier:
    """Load a classifier by its name or from its folder in another process.

    Raises:
        WeightsError: if its digest is no longer the same.
    """
    return _same(load_classifier(source, device), digest, f"the weights in {source}")


def _made_again(make: Callable[[], StepClassifier], digest: str) -> StepClassifier:
    made = make()
    return _same(made, digest, f"the model of {made.name}")


def _same(classifier: StepClassifier, digest: str, what: str) -> StepClassifier:
    if classifier.digest != digest:
        raise WeightsError(f"{what} changed after the classifier was loaded; load it again")
    return classifier
