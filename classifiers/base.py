"""What all classifiers share, so that each feels at home in scikit-learn."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from ..errors import WeightsError
from .contract import LABELS, Probabilities, StepClassifier, StepInput
from .store import MANIFEST

__all__ = ["StepClassifierBase", "digest_of"]


class StepClassifierBase(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A `StepClassifier` that is a fitted scikit-learn classifier as well.

    A subclass sets `name` and `digest` and writes `predict_proba`; `predict`, `score`,
    `get_params` and `clone` come with it, so a constructor stores its arguments unchanged.
    """

    name: str
    digest: str
    folder: Path | None = None
    """Where it was loaded from; None where it has no folder."""
    device: str | None = None
    """Where torch runs it; None where it runs as it ships."""
    original: str | None = None
    """The digest of what it says nearly the same as, so that a calibration made for that is good for it."""
    note: str = ""
    """What a reader of its verdicts must know, such as which columns it never fills."""

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The names of the columns: `LABELS`."""
        return np.array(LABELS)

    @abstractmethod
    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the label probabilities, shape (len(steps), 4)."""

    def predict(self, steps: Sequence[StepInput], /) -> NDArray[np.str_]:
        """Return each step's likeliest label, shape (len(steps),); "" where it could not be judged."""
        rows = self.predict_proba(steps)
        unjudged = np.isnan(rows.sum(axis=1))
        likeliest = self.classes_[np.nan_to_num(rows).argmax(axis=1)]
        return np.where(unjudged, "", likeliest)

    def fit(self, steps: Sequence[StepInput] = (), labels: Sequence[str] = (), /) -> Self:
        """Learn nothing, like `sklearn.frozen.FrozenEstimator`: what is loaded is fitted already.

        It is there because a scikit-learn `Pipeline` wants one; `undertow train` trains anew.
        """
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.digest[:19]}>"

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_clone__(self) -> Self:
        """Return one like it that shares what its arguments hold: a model is never copied."""
        return type(self)(**self.get_params(deep=False))

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Travel to another process as the folder it was loaded from, not as its weights."""
        if self.folder is not None and (self.folder / MANIFEST).is_file():
            return _again, (str(self.folder.resolve()), self.digest, self.device)
        return super().__reduce_ex__(protocol)


def digest_of(value: Any) -> str:
    """Return the digest that names something: `sha256:` and 64 hex digits of it as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _again(folder: str, digest: str, device: str | None = None) -> StepClassifier:
    """Load a classifier from its folder in another process; it must still be the same."""
    from .registry import load_classifier

    classifier = load_classifier(Path(folder), device)
    if classifier.digest != digest:
        raise WeightsError(f"{folder} holds other weights than when the classifier was sent; load it again")
    return classifier
