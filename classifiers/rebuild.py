"""The network of `step-encoder`, made again in torch from the graphs that `export` wrote.

What ships for onnxruntime holds everything: weights of 8 bits with their scales, and the rest as it
was. A matrix has lost its name in the graph and is known by the bias that is added to what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra

try:
    import onnx
    import torch
    from onnx import ModelProto, NodeProto, numpy_helper
    from transformers import BertConfig, BertModel
except ImportError as error:
    raise MissingExtra("step-encoder on torch", "gpu") from error

from .network import StepNet

__all__ = ["network_from"]

Array: TypeAlias = NDArray[np.float32]

FOR_TRAINING = ("foresee.", "suspect.")
"""Parts of the network that judge nothing and are not exported."""


def network_from(folder: Path) -> StepNet:
    """Make the network of an encoder's folder, ready to judge, on the CPU.

    Raises:
        ValueError: if the graphs are not those of a step-encoder.
    """
    found: dict[str, Array] = {}
    for part in ("lower", "upper"):
        found |= _weights(_Graph(onnx.load(folder / f"{part}.onnx")))
    found |= _memory(_Graph(onnx.load(folder / "memory.onnx")))
    net = _blank(found)
    state = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in found.items()}
    missing, strange = net.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.startswith(FOR_TRAINING)]
    if missing or strange:
        raise ValueError(f"its graphs lack {missing[:3]} or hold more: {strange[:3]}")
    return net.eval().requires_grad_(False)


class _Graph:
    """A graph's tensors by name, and what is done with them."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self.takers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            if node.op_type == "Identity" and node.input[0] in self.tensors:  # equal tensors are kept once
                self.tensors[node.output[0]] = self.tensors[node.input[0]]
            for name in node.input:
                self.takers.setdefault(name, []).append(node)

    def whole(self, name: str) -> Array:
        """Return a tensor; one of 8 bits as the numbers that it stands for."""
        if not name.endswith("_quantized"):
            return self.tensors[name].astype(np.float32)
        zero, scale = (self.tensors[name.replace("_quantized", end)] for end in ("_zero_point", "_scale"))
        meant: Array = (self.tensors[name].astype(np.float32) - zero.astype(np.float32)) * scale
        return meant

    def bias_of(self, node: NodeProto) -> str:
        """Return the name of the bias that is added to what a matrix gives."""
        taker = self.takers[node.output[0]][0]
        while taker.op_type != "Add":
            taker = self.takers[taker.output[0]][0]
        return next(str(given) for given in taker.input if given.endswith(".bias"))


def _weights(graph: _Graph) -> dict[str, Array]:
    """Return the parameters of the lower or the upper layers."""
    own = [name for name in graph.tensors if name.startswith("net.")]
    found = {_plain(name): graph.whole(name) for name in own if not name.endswith(("_scale", "_zero_point"))}
    for node in graph.nodes:
        if node.op_type == "MatMulInteger":
            name = graph.bias_of(node).removesuffix("bias") + "weight"
            found[_plain(name)] = graph.whole(node.input[1]).T
        elif node.op_type == "Gather" and node.input[0].startswith("onnx::Gather"):
            found[node.name.split("/")[1] + ".lean"] = graph.whole(node.input[0]).T
    return found


def _memory(graph: _Graph) -> dict[str, Array]:
    """Return the parameters of the memory; ONNX has a GRU's gates in another order."""
    found = {_plain(name): graph.whole(name) for name in graph.tensors if name.startswith("net.")}
    (gru,) = (node for node in graph.nodes if node.op_type == "GRU")
    given, kept, biases = (graph.whole(name)[0] for name in gru.input[1:4])
    parts = {"weight_ih": given, "weight_hh": kept}
    parts |= dict(zip(("bias_ih", "bias_hh"), np.split(biases, 2), strict=True))
    for name, array in parts.items():
        update, reset, new = np.split(array, 3)
        found[f"memory.{name}_l0"] = np.concatenate([reset, update, new])
    return found


def _blank(found: Mapping[str, Array]) -> StepNet:
    """Return a network of the shape of these weights."""
    words, wide = found["embeddings.word_embeddings.weight"].shape
    frozen, looking = (
        len({name.split(".")[1] for name in found if name.startswith(part)}) for part in ("lower.", "upper.")
    )
    config = BertConfig(
        vocab_size=words,
        hidden_size=wide,
        num_hidden_layers=frozen + looking,
        num_attention_heads=len(found["upper.0.lean"]),
        intermediate_size=len(found["lower.0.intermediate.dense.bias"]),
        max_position_embeddings=len(found["embeddings.position_embeddings.weight"]),
        type_vocab_size=len(found["embeddings.token_type_embeddings.weight"]),
    )
    encoder = BertModel(config, add_pooling_layer=False)
    return StepNet(encoder, frozen, len(found["answer"]), dropout=0.0)


def _plain(name: str) -> str:
    return name.removeprefix("net.").removesuffix("_quantized")
