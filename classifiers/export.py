"""Export a trained network to a folder that onnxruntime runs without torch.

lower.onnx      ids (1, t) → states (1, t, wide), and their projections in the first upper layer:
                query (1, t, wide), own_0 (1, t, 2 wide), which holds keys and values
upper.onnx      these, request_0 …, before_0 … (1, ·, 2 wide): keys and values for each upper layer,
                role (all,): 0 request, 1 before or 2 own for each key
                → step (1, width), read (1, t, wide), own_1 … (1, t, 2 wide)
request.onnx    read (1, t, wide) → request (1, width)
memory.onnx     steps (n, windows, width), own (windows, width): the last step of each window,
                lengths (windows,), request (1, width), in_answer (1,) of 0 or 1 → logits (windows, 4)
tokenizer.json  WordPiece
"""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingExtra
from .store import Manifest, write_manifest

try:
    from .graphs import write_lower, write_memory, write_request, write_upper
except ImportError as error:
    raise MissingExtra("exporting step-encoder", "train") from error

from .training import Trained

__all__ = ["export"]


def export(trained: Trained, folder: Path, name: str = "step-encoder", temperature: float = 1.0) -> Manifest:
    """Write a trained network as a classifier's folder.

    Args:
        trained: the result of `training.train` or `training.finish`.
        folder: the folder to write; created if missing.
        name: the name of the classifier in verdicts.
        temperature: the temperature that the logits are divided by, fitted on held-out steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    net = trained.net.eval()
    weights = {key: value.numpy() for key, value in net.state_dict().items()}
    heads = net.looking[0].heads
    write_lower(folder / "lower.onnx", weights, len(net.lower), heads, "upper.0.layer")
    write_upper(folder / "upper.onnx", weights, len(net.upper), heads)
    write_request(folder / "request.onnx", weights)
    write_memory(folder / "memory.onnx", weights)
    trained.tokenizer.save(str(folder / "tokenizer.json"))
    return write_manifest(
        folder,
        kind="encoder",
        name=name,
        settings={
            "max_tokens": trained.recipe.max_tokens,
            "upper_layers": len(net.upper),
            "temperature": temperature,
        },
        files=["lower.onnx", "upper.onnx", "request.onnx", "memory.onnx", "tokenizer.json"],
    )
