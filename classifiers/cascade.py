"""A cheap classifier first, a costly one where the first is unsure.

A step whose risk under the first lies within a band, or that the first could not judge, is asked again of
the second, whose row then counts. What the second cannot judge is not judged: the first was unsure of it.
How many steps went on is counted, since that is what a cascade costs.

Viola & Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001; for language
models Chen et al., "FrugalGPT", 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, WeightsError
from .base import StepClassifierBase, digest_of
from .contract import Probabilities, StepClassifier, StepInput, risk_of
from .store import MANIFEST, Manifest, write_manifest

__all__ = ["CascadeClassifier", "Escalation", "band_for", "save_cascade"]


class CascadeClassifier(StepClassifierBase):
    """Judges steps with `first`, and with `second` where the first is unsure.

    Args:
        first: the cheap classifier, asked about every step.
        second: the costly one.
        low: risks of the first from here on go to the second,
        high: up to here.
        name: what it is called in verdicts.

    Raises:
        UsageError: if the band is none.
    """

    def __init__(
        self,
        first: StepClassifier,
        second: StepClassifier,
        low: float = 0.1,
        high: float = 0.9,
        name: str = "cascade",
    ) -> None:
        if not 0 <= low <= high <= 1:
            raise UsageError(f"a band of risks has 0 ≤ low ≤ high ≤ 1, not {low} to {high}")
        self.first = first
        self.second = second
        self.low = low
        self.high = high
        self.name = name
        self.digest = digest_of(["cascade", first.digest, second.digest, low, high])
        self.note = "; ".join(
            f"{member.name}: {note}" for member in (first, second) if (note := getattr(member, "note", ""))
        )
        self._counts = _Counts()

    @classmethod
    def from_folder(cls, folder: Path, manifest: Manifest) -> Self:
        """Load a cascade; its members are loaded by their names, or from folders beside its own.

        Raises:
            WeightsError: if a member is missing, or not the one with the digest that is named.
        """
        said = manifest.settings
        try:
            first, second = (_member(folder, **said[role]) for role in ("first", "second"))
            made = cls(first, second, float(said["low"]), float(said["high"]), manifest.name)
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{folder} does not hold a cascade: {error}; make it again") from error
        made.folder = folder
        return made

    @property
    def share_escalated(self) -> float:
        """The share of the steps asked so far that went on to the second; NaN before any."""
        asked, escalated = self.counts
        return escalated / asked if asked else float("nan")

    @property
    def counts(self) -> tuple[int, int]:
        """How many steps were asked so far, and how many of them went on."""
        return self._counts.now()

    def predict_proba(self, steps: Sequence[StepInput], /) -> Probabilities:
        """Return the label probabilities, shape (len(steps), 4)."""
        if not len(steps):  # an array has no truth of its own
            return np.empty((0, 4))
        rows = np.array(self.first.predict_proba(steps), dtype=np.float64)
        risk = risk_of(rows)
        unsure = np.flatnonzero(np.isnan(risk) | ((risk >= self.low) & (risk <= self.high))).tolist()
        self._counts.add(len(steps), len(unsure))  # asked, whether it answers or not
        if unsure:
            rows[unsure] = self.second.predict_proba([steps[index] for index in unsure])
        return rows

    def __getstate__(self) -> Any:
        """Leave the counts behind: they say what was asked here."""
        return {key: value for key, value in self.__dict__.items() if key != "_counts"}

    def __setstate__(self, state: Any) -> None:
        """Begin to count anew."""
        self.__dict__.update(state)
        self._counts = _Counts()


class _Counts:
    """How many steps were asked, and how many went on; safe for threads."""

    def __init__(self) -> None:
        self._asked = self._escalated = 0
        self._lock = Lock()

    def add(self, asked: int, escalated: int) -> None:
        with self._lock:
            self._asked += asked
            self._escalated += escalated

    def now(self) -> tuple[int, int]:
        with self._lock:
            return self._asked, self._escalated


class Escalation:
    """How much a cascade escalates from here on; of any other classifier there is nothing to say.

    Args:
        classifier: what will judge.
    """

    def __init__(self, classifier: StepClassifier) -> None:
        self._cascade = classifier if isinstance(classifier, CascadeClassifier) else None
        self._before = self._cascade.counts if self._cascade is not None else (0, 0)

    @property
    def share(self) -> float | None:
        """The share of the steps asked since that went on to the second; None where none was asked."""
        if self._cascade is None:
            return None
        asked, escalated = (now - then for now, then in zip(self._cascade.counts, self._before, strict=True))
        return escalated / asked if asked else None


def band_for(risks: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Return the band around one half that holds a share of the first classifier's risks.

    Args:
        risks: what the first says of steps like those to come, shape (n,); NaN are left out.
        share: how many of them may go on to the second, between 0 and 1.

    Raises:
        UsageError: a share that cannot be, or no risks.
    """
    known = np.sort(np.abs(risks[~np.isnan(risks)] - 0.5))
    if not 0 < share <= 1 or not len(known):
        raise UsageError(
            f"a band needs risks and a share between 0 and 1, not {len(known)} risks and {share}"
        )
    half = float(known[max(0, int(np.floor(share * len(known))) - 1)])
    return 0.5 - half, 0.5 + half


def save_cascade(folder: Path, first: str, second: str, *, low: float, high: float, name: str) -> Manifest:
    """Write a cascade's folder; its members are named, not copied.

    Args:
        folder: where to write it; made where it is missing.
        first: the cheap classifier: a name that `load_classifier` takes, or of a folder beside this one.
        second: the costly one.
        low: risks of the first from here on go to the second,
        high: up to here.
        name: what it is called in verdicts.

    Raises:
        UsageError: if a member cannot be loaded by its name, or the band is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = {"first": _member(folder, first), "second": _member(folder, second)}
    CascadeClassifier(members["first"], members["second"], low, high)
    named = {"first": first, "second": second}
    settings: dict[str, Any] = {
        role: {"name": named[role], "digest": member.digest} for role, member in members.items()
    }
    band = {"low": float(low), "high": float(high)}
    return write_manifest(folder, kind="cascade", name=name, settings=settings | band, files=[])


def _member(folder: Path, name: str, digest: str | None = None) -> StepClassifier:
    """Load a member by its name, or from the folder of that name beside the cascade's."""
    from .registry import load_classifier

    beside = folder.parent / name
    if beside.resolve() == folder.resolve():
        raise WeightsError(f"{folder}: a cascade cannot be a member of itself")
    member = load_classifier(beside if (beside / MANIFEST).is_file() else name)
    if digest is not None and member.digest != digest:
        raise WeightsError(f"{folder}: made for another {name} than {member.digest[:19]}…; make it again")
    return member
