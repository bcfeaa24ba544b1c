"""Temperature scaling: calibrate probabilities with one temperature, fitted on held-out steps.

Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .contract import Probabilities

__all__ = ["fit_temperature", "temper"]

_TINY = 1e-12


def temper(rows: Probabilities, temperature: float) -> Probabilities:
    """Divide the logits of the rows by a temperature; above 1, the rows become less certain."""
    logits = np.log(np.maximum(rows, _TINY)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    tempered: Probabilities = shares / shares.sum(axis=1, keepdims=True)
    return tempered


def fit_temperature(rows: Probabilities, labels: NDArray[np.int64]) -> float:
    """Return the temperature of the lowest log-loss, from exp(-1.5) to exp(1.5); 1 if no step was judged.

    Args:
        rows: probabilities of held-out steps, shape (n, 4); NaN rows, which were not judged, do not count.
        labels: the labels of these steps as indices into `LABELS`, shape (n,).
    """
    from scipy.optimize import minimize_scalar

    judged = ~np.isnan(rows).any(axis=1)
    rows, labels = rows[judged], labels[judged]
    if not len(rows):
        return 1.0

    def loss(log_temperature: float) -> float:
        chosen = temper(rows, float(np.exp(log_temperature)))[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(chosen, _TINY)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.5, 1.5), method="bounded").x))
