"""Rebuild the network of `step-encoder` in torch from the graphs that `export` wrote.

The graphs for onnxruntime hold every parameter that judges, under its name in torch: matrices in 8 bits with
their scales, and the rest unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra

try:
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import nn
    from transformers import BertConfig, BertModel

    from .graphs import SCALE
except ImportError as error:
    raise MissingExtra("running step-encoder on torch", "gpu") from error

from .network import StepNet

if TYPE_CHECKING:
    from transformers.models.bert.modeling_bert import BertLayer

__all__ = ["network_from"]

Array: TypeAlias = NDArray[np.float32]

FOR_TRAINING = ("foresee.", "suspect.")
"""Prefixes of the parameters that serve training only and are not exported."""


def network_from(folder: Path) -> StepNet:
    """Build the network from an encoder's folder, ready to judge, on the CPU.

    Raises:
        ValueError: if the graphs are not those of a step-encoder.
    """
    found: dict[str, Array] = {}
    for part in ("lower", "upper", "request", "memory"):
        found |= _weights(folder / f"{part}.onnx")
    net = _blank(found)
    state = {name: torch.from_numpy(np.array(array)) for name, array in found.items()}
    missing, strange = net.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.startswith(FOR_TRAINING)]
    if missing or strange:
        raise ValueError(f"its graphs lack the parameters {missing[:3]} or have unknown ones {strange[:3]}")
    return net.eval().requires_grad_(False)


def _weights(path: Path) -> dict[str, Array]:
    """Return the parameters of a graph, dequantised."""
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    return {
        name: _meant(array, kept.get(name + SCALE))
        for name, array in kept.items()
        if not name.endswith(SCALE)
    }


def _meant(array: NDArray[Any], scale: Array | None) -> Array:
    """Dequantise a tensor; a matrix with one scale per column is stored transposed."""
    if scale is None:
        return array
    whole: Array = array.astype(np.float32) * scale
    return whole.T if scale.ndim == 1 else whole


def _blank(found: Mapping[str, Array]) -> StepNet:
    """Return an untrained network with the shapes of these weights."""
    words, wide = found["embeddings.word_embeddings.weight"].shape
    frozen, looking = (
        len({name.split(".")[1] for name in found if name.startswith(part)}) for part in ("lower.", "upper.")
    )
    config = BertConfig(
        vocab_size=words,
        hidden_size=wide,
        num_hidden_layers=frozen + looking,
        num_attention_heads=len(found["upper.0.lean"]),
        intermediate_size=len(found["upper.0.layer.intermediate.dense.bias"]),
        max_position_embeddings=len(found["embeddings.position_embeddings.weight"]),
        type_vocab_size=len(found["embeddings.token_type_embeddings.weight"]),
    )
    encoder = BertModel(config, add_pooling_layer=False)
    inner = len(found["lower.0.intermediate.dense.bias"])
    for part in encoder.encoder.layer[:frozen]:  # these may be narrower; see `shallow`
        layer = cast("BertLayer", part)
        layer.intermediate.dense, layer.output.dense = nn.Linear(wide, inner), nn.Linear(inner, wide)
    return StepNet(encoder, frozen, len(found["answer"]), dropout=0.0)
