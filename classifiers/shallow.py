"""Replace the lower layers of `step-encoder` by fewer and narrower ones, to make it cheap.

The lower layers stay as they were pretrained, and the upper layers see only their states. Fewer and
narrower layers can be taught to give nearly the same states (distillation of hidden states: Romero et al.,
"FitNets", 2015; Jiao et al., "TinyBERT", 2020), from texts alone, without labels. They are initialised
from some of the layers that they replace, with the units of the largest weights; the upper layers are
not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from ..errors import MissingExtra

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise MissingExtra("training step-encoder", "train") from error

from .network import StepNet
from .packing import States

if TYPE_CHECKING:
    from transformers.models.bert.modeling_bert import BertLayer

    from .training import Trained

__all__ = ["Shallow", "distance", "distil", "lower_of", "replaced"]


@dataclass(frozen=True)
class Shallow:
    """How to replace the lower layers. The shipped weights were made with the defaults."""

    layers: int = 2
    inner: int = 768
    """Units between the two matrices of a layer's feed-forward part; all-MiniLM-L6-v2 has 1,536."""
    epochs: int = 8
    tokens_per_batch: int = 3000
    rate: float = 1e-3
    seed: int = 0


def distil(
    net: StepNet,
    states: States,
    recipe: Shallow | None = None,
    progress: Callable[[int, int, float], None] = lambda *_: None,
) -> nn.ModuleList:
    """Teach fewer layers to give the states of a network's lower layers.

    Args:
        net: the network; it is not changed.
        states: the states of many texts after its lower layers.
        recipe: the number of layers and how to train them; None for the defaults.
        progress: called after each batch with its number, the number of batches, and the mean squared
            distance as a share of the variance of the states: 0 if they are equal.

    Returns:
        The layers that can replace `net.lower`.
    """
    recipe = recipe or Shallow()
    random = np.random.default_rng(recipe.seed)
    student = _with(net, nn.ModuleList(_begin(net.lower, recipe)).requires_grad_(True))
    for part in student.lower.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    optimizer = torch.optim.AdamW(student.lower.parameters(), recipe.rate, weight_decay=0.01)
    count = len(_batches(states, recipe.tokens_per_batch, random))
    total = recipe.epochs * count
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=total + 1, pct_start=0.08
    )
    variance = _variance(states)
    for epoch in range(recipe.epochs):
        batches = _batches(states, recipe.tokens_per_batch, random)
        for number, batch in enumerate(random.permutation(count)):
            loss = _apart(student, states, batches[batch]).mean() / variance
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(student.lower.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress(epoch * count + number, total, loss.item())
    return student.lower.requires_grad_(False).eval()


def distance(net: StepNet, lower: nn.ModuleList, states: States) -> float:
    """Return the relative error of other lower layers on the states of a network.

    That is the mean squared distance over the variance of the states: 0 if they are equal.
    """
    student = _with(net, lower)
    batches = _batches(states, Shallow.tokens_per_batch, np.random.default_rng(0))
    with torch.inference_mode():
        apart = torch.cat([_apart(student, states, batch) for batch in batches])
    return float(apart.mean() / _variance(states))


def replaced(trained: Trained, lower: nn.ModuleList) -> Trained:
    """Return a copy of a trained network with other lower layers."""
    return replace(trained, net=_with(trained.net, deepcopy(lower)).eval())


def lower_of(net: StepNet, weights: Mapping[str, Tensor]) -> nn.ModuleList:
    """Rebuild the layers that `distil` made for a network from their weights."""
    layers = 1 + max(int(name.split(".")[0]) for name in weights)
    inner = len(weights["0.intermediate.dense.bias"])
    lower = nn.ModuleList(_begin(net.lower, Shallow(layers=layers, inner=inner)))
    lower.load_state_dict(weights)
    return lower.requires_grad_(False).eval()


def _with(net: StepNet, lower: nn.ModuleList) -> StepNet:
    other = deepcopy(net)
    other.lower = lower
    return other


def _begin(layers: nn.ModuleList, recipe: Shallow) -> list[nn.Module]:
    """Return copies of evenly chosen layers, including the first and the last, made narrower."""
    chosen = np.linspace(0, len(layers) - 1, recipe.layers).round().astype(int)
    return [_narrowed(cast("BertLayer", deepcopy(layers[i])), recipe.inner) for i in chosen]


def _narrowed(layer: BertLayer, inner: int) -> nn.Module:
    """Keep only the inner units of a layer with the largest weights, in and out."""
    into, out = layer.intermediate.dense, layer.output.dense
    weighs = into.weight.norm(dim=1) * out.weight.norm(dim=0)
    kept = weighs.topk(min(inner, len(weighs))).indices.sort().values
    into.weight, into.bias = nn.Parameter(into.weight[kept]), nn.Parameter(into.bias[kept])
    out.weight = nn.Parameter(out.weight[:, kept])
    into.out_features = out.in_features = len(kept)
    return layer


def _batches(states: States, tokens: int, random: np.random.Generator) -> list[list[int]]:
    """Split the texts into batches of about equal length."""
    lengths = np.array([len(states[i]) for i in range(len(states))])
    batches: list[list[int]] = [[]]
    for i in np.lexsort((random.random(len(lengths)), lengths)).tolist():
        if (len(batches[-1]) + 1) * lengths[i] > tokens and batches[-1]:
            batches.append([])
        batches[-1].append(i)
    return batches


def _apart(student: StepNet, states: States, batch: Sequence[int]) -> Tensor:
    """Return the squared distance of each token's states from the states to be learned, shape (tokens,)."""
    ids, mask = states.padded(batch)
    with states.autocast():
        given = student.read_alone(ids, mask.float())
    meant = torch.cat([states[i] for i in batch]).to(ids.device).float()
    return (given.float()[mask] - meant).square().sum(1)


def _variance(states: States) -> Tensor:
    return torch.cat([states[i] for i in range(min(len(states), 5000))]).float().var(0).sum()
