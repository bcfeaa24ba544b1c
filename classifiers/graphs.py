"""Write the ONNX graphs of `step-encoder`, operator by operator, for onnxruntime.

A traced graph repeats the operators of torch; onnxruntime has larger operators for the same, which are
several times faster on texts of twenty tokens. The matrices of the encoder are stored in 8 bits with a
scale for each output or token, those of the memory in 32 bits; the inputs of linear layers in 8 bits are
rounded to 8 bits at run time, one text at a time. Tensors keep the names of the network's parameters, so
that `undertow.classifiers.rebuild` can read them back. `export` documents the inputs and outputs of each
graph, `network` what it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["SCALE", "Shape", "Weights", "write_lower", "write_memory", "write_request", "write_upper"]

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]
"""The parameters of the network, by their names in torch."""

Shape: TypeAlias = Sequence[int | str]

SCALE = ".scale"
"""The suffix of the name of a quantised tensor's scale, by which its integers are multiplied."""

CONTRIB = "com.microsoft"
OPSET, IR = 17, 8
EPSILON = 1e-12
"""The epsilon of BERT's layer norms."""


class _Graph:
    """A graph under construction; each of its values is referred to by name."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, onnx.TensorProto] = {}
        self._given: list[onnx.ValueInfoProto] = []

    def given(self, name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> str:
        """Declare an input."""
        self._given.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **settings: Any) -> str:
        """Add an operator; return the name of its output."""
        return self.ops(kind, *inputs, count=1, domain=domain, **settings)[0]

    def ops(self, kind: str, *inputs: str, count: int, domain: str = "", **settings: Any) -> list[str]:
        """Add an operator with several outputs; return their names."""
        names = [f"{kind}_{len(self._nodes)}_{i}" for i in range(count)]
        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **settings))
        return names

    def fused(self, kind: str, *inputs: str, **settings: Any) -> str:
        """Add one of onnxruntime's own operators."""
        return self.op(kind, *inputs, domain=CONTRIB, **settings)

    def constant(self, value: int | Sequence[int]) -> str:
        """Add a constant: a number or a list that is not a parameter."""
        return self.op("Constant", value=numpy_helper.from_array(np.array(value, dtype=np.int64)))

    def tensor(self, name: str) -> str:
        """Add a parameter without quantising it."""
        return self._keep(name, self._weights[name])

    def size(self, name: str) -> int:
        """Return the length of the first axis of a parameter."""
        return len(self._weights[name])

    def small(self, name: str, axis: int) -> tuple[str, str]:
        """Add a matrix in 8 bits and its scales; return both names.

        With axis 1 there is a scale for each row; with axis 0 the matrix is transposed, and there is a scale
        for each of its columns.
        """
        whole = self._weights[name] if axis else self._weights[name].T
        scale = np.abs(whole).max(axis, keepdims=bool(axis)) / 127
        scale = np.where(scale == 0, 1, scale).astype(np.float32)
        return self._keep(name, np.round(whole / scale).astype(np.int8)), self._keep(name + SCALE, scale)

    def linear(self, given: str, *names: str) -> str:
        """Add linear layers, concatenated into one, in 8 bits."""
        parts = [self.small(f"{name}.weight", 0) for name in names]
        biases = [self.tensor(f"{name}.bias") for name in names]
        matrix, scale, bias = (
            self.join(values, axis)
            for values, axis in zip((*zip(*parts, strict=True), biases), (1, 0, 0), strict=True)
        )
        return self.fused("DynamicQuantizeMatMul", given, matrix, scale, "", bias)

    def join(self, values: Sequence[str], axis: int) -> str:
        """Concatenate values."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=axis)

    def norm(self, states: str, name: str) -> str:
        """Add a layer norm."""
        weight, bias = (self.tensor(f"{name}.{part}") for part in ("weight", "bias"))
        return self.op("LayerNormalization", states, weight, bias, epsilon=EPSILON, axis=-1)

    def add_norm(self, new: str, old: str, name: str) -> str:
        """Add a residual and its layer norm, as two operators: the fused one is four times slower."""
        return self.norm(self.op("Add", new, old), name)

    def save(self, path: Path, results: Mapping[str, tuple[str, Shape]]) -> None:
        """Write the graph with these outputs: each name → the value and its shape."""
        for name, (value, _) in results.items():
            self._nodes.append(helper.make_node("Identity", [value], [name]))
        out = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, (_, shape) in results.items()
        ]
        graph = helper.make_graph(self._nodes, path.stem, self._given, out, list(self._tensors.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR, producer_name="undertow")
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _keep(self, name: str, array: NDArray[Any]) -> str:
        self._tensors[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name


def write_lower(path: Path, weights: Weights, layers: int, heads: int, first: str) -> None:
    """Write the lower layers, which read a text alone, and the projections of the first upper layer.

    Args:
        path: the file to write.
        weights: the parameters of the network.
        layers: the number of lower layers.
        heads: the number of heads of each layer.
        first: the name of the first upper layer.
    """
    graph = _Graph(weights)
    wide = weights["embeddings.LayerNorm.weight"].shape[0]
    states = _embed(graph, graph.given("ids", (1, "t"), TensorProto.INT64))
    for name in (f"lower.{number}" for number in range(layers)):
        query, key, value = _project(graph, states, name)
        seen = graph.fused("MultiHeadAttention", query, key, value, num_heads=heads)
        states = _finish(graph, seen, states, name)
    query, key, value = _project(graph, states, first)
    there = graph.join([key, value], -1)
    wides = {"states": (states, wide), "query": (query, wide), "own_0": (there, 2 * wide)}
    graph.save(path, {name: (value, (1, "t", size)) for name, (value, size) in wides.items()})


def write_upper(path: Path, weights: Weights, layers: int, heads: int) -> None:
    """Write the upper layers, which read a text in the context of its request and the preceding text.

    Args:
        path: the file to write.
        weights: the parameters of the network.
        layers: the number of upper layers.
        heads: the number of heads of each layer.
    """
    graph = _Graph(weights)
    wide = weights["embeddings.LayerNorm.weight"].shape[0]
    states, query = (graph.given(name, (1, "t", wide)) for name in ("states", "query"))
    own = graph.given("own_0", (1, "t", 2 * wide))
    beside = {
        (whose, depth): graph.given(f"{whose}_{depth}", (1, f"{whose}s", 2 * wide))
        for whose in ("request", "before")
        for depth in range(layers)
    }
    role = graph.given("role", ("all",), TensorProto.INT64)
    rows = graph.op("Shape", states, start=1, end=2)
    shape = graph.join([graph.constant([1, heads]), rows, graph.constant([1])], 0)
    between: dict[str, tuple[str, Shape]] = {}
    for depth in range(layers):
        name = f"upper.{depth}"
        if depth:
            query, key, value = _project(graph, states, f"{name}.layer")
            own = graph.join([key, value], -1)
            between[f"own_{depth}"] = own, (1, "t", 2 * wide)
        there = graph.join([beside["request", depth], beside["before", depth], own], 1)
        key, value = graph.ops("Split", there, count=2, axis=-1)
        value = graph.op("Add", value, graph.op("Gather", graph.tensor(f"{name}.whose"), role))
        lean = graph.op("Gather", graph.tensor(f"{name}.lean"), role, axis=1)
        lean = graph.op("Expand", graph.op("Unsqueeze", lean, graph.constant([0, 2])), shape)
        seen = graph.fused("MultiHeadAttention", query, key, value, "", "", lean, num_heads=heads)
        states = _finish(graph, seen, states, f"{name}.layer")
    results = {"step": _pool(graph, states, "read_step"), "read": (states, (1, "t", wide)), **between}
    graph.save(path, results)


def write_request(path: Path, weights: Weights) -> None:
    """Write the pooling of a request's states into its vector."""
    graph = _Graph(weights)
    read = graph.given("read", (1, "t", weights["embeddings.LayerNorm.weight"].shape[0]))
    graph.save(path, {"request": _pool(graph, read, "read_request")})


def write_memory(path: Path, weights: Weights) -> None:
    """Write the memory over windows of steps under one request, and the decision at the end of each.

    The request is the same at each step, so its contribution to the gates is computed once, as part
    of their bias.
    """
    graph = _Graph(weights)
    width = weights["answer"].shape[0]
    steps, own = graph.given("steps", ("n", "windows", width)), graph.given("own", ("windows", width))
    lengths = graph.given("lengths", ("windows",), TensorProto.INT32)
    request, in_answer = graph.given("request", (1, width)), graph.given("in_answer", (1,))
    asked = graph.op("Add", request, graph.op("Mul", in_answer, graph.tensor("answer")))
    mixed = graph.op("Concat", graph.fused("Gelu", steps), graph.op("Mul", steps, asked), axis=-1)
    of_said, of_asked, of_both = graph.ops("Split", _gates(graph, "weight_ih_l0"), count=3, axis=1)
    first = graph.constant([0])
    bias = graph.op("Gemm", graph.fused("Gelu", asked), of_asked, _gates(graph, "bias_ih_l0"), transB=1)
    hidden = graph.op("Unsqueeze", _gates(graph, "bias_hh_l0"), first)
    last = graph.ops(
        "GRU", mixed,
        graph.op("Unsqueeze", graph.op("Concat", of_said, of_both, axis=1), first),
        graph.op("Unsqueeze", _gates(graph, "weight_hh_l0"), first),
        graph.op("Concat", bias, hidden, axis=1),
        lengths,
        count=2, hidden_size=width, linear_before_reset=1,
    )[1]  # fmt: skip
    known = graph.op("Concat", graph.op("Squeeze", last, first), graph.fused("Gelu", own), axis=-1)
    logits = graph.op("Gemm", known, graph.tensor("decide.weight"), graph.tensor("decide.bias"), transB=1)
    graph.save(path, {"logits": (logits, ("windows", 4))})


def _embed(graph: _Graph, ids: str) -> str:
    """Look up the embeddings of tokens and of their positions."""
    tables = [f"embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
    (words, word), (places, place) = (graph.small(name, 1) for name in tables[:2])
    count = graph.op("Shape", ids, start=1, end=2)
    start = graph.constant([0])
    parts = [graph.op("Gather", part, ids) for part in (words, word)]
    parts += [graph.op("Slice", part, start, count) for part in (places, place)]
    for i in (0, 2):
        parts[i] = graph.op("Mul", graph.op("Cast", parts[i], to=TensorProto.FLOAT), parts[i + 1])
    kind = graph.op("Gather", graph.tensor(tables[2]), graph.constant(0))
    return graph.norm(graph.op("Add", parts[0], graph.op("Add", parts[2], kind)), "embeddings.LayerNorm")


def _project(graph: _Graph, states: str, layer: str) -> list[str]:
    """Project states to queries, keys and values."""
    names = (f"{layer}.attention.self.{part}" for part in ("query", "key", "value"))
    return graph.ops("Split", graph.linear(states, *names), count=3, axis=-1)


def _finish(graph: _Graph, seen: str, states: str, layer: str) -> str:
    """Compute the output of a layer from the attention output and the states before it."""
    mixed = graph.linear(seen, f"{layer}.attention.output.dense")
    mixed = graph.add_norm(mixed, states, f"{layer}.attention.output.LayerNorm")
    inner = graph.fused("Gelu", graph.linear(mixed, f"{layer}.intermediate.dense"))
    return graph.add_norm(graph.linear(inner, f"{layer}.output.dense"), mixed, f"{layer}.output.LayerNorm")


def _pool(graph: _Graph, states: str, reader: str) -> tuple[str, Shape]:
    """Pool the tokens of a text; the plain mean is one more head, with equal weights."""
    weigh, bias = (graph.tensor(f"{reader}.weigh.{part}") for part in ("weight", "bias"))
    tokens = graph.op("Squeeze", states, graph.constant([0]))
    heads = graph.op("Pad", weigh, graph.constant([1, 0, 0, 0]))
    biases = graph.op("Unsqueeze", graph.op("Pad", bias, graph.constant([1, 0])), graph.constant([1]))
    shares = graph.op("Softmax", graph.op("Gemm", heads, tokens, biases, transB=1), axis=-1)
    pooled = graph.op("Reshape", graph.op("MatMul", shares, tokens), graph.constant([1, -1]))
    return graph.linear(pooled, f"{reader}.project"), (1, graph.size(f"{reader}.project.bias"))


def _gates(graph: _Graph, name: str) -> str:
    """Return a parameter of the memory with its gates in the order of ONNX: update, reset, new."""
    whole = graph.tensor(f"memory.{name}")
    size = graph.size(f"memory.{name}") // 3
    order = [*range(size, 2 * size), *range(size), *range(2 * size, 3 * size)]
    return graph.op("Gather", whole, graph.constant(order), axis=0)
