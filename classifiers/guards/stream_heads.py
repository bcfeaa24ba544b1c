"""The network of Qwen3Guard-Stream without code from the model's repository: Qwen3 and its heads.

A head path is a linear map, an RMS norm, and one linear map for the risk and one for the category (not used
here); there is one path for the user's tokens and one for the assistant's. The layout was read from the names
and sizes of the weights, as in `Qwen3ForGuardModel` of vLLM and SGLang. The state API is the model's own:
`stream_moderate_from_ids` and `close_stream` (README of QwenLM/Qwen3Guard).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from safetensors import SafetensorError

from ...errors import MissingExtra, WeightsError, first_line
from ..hub import file_of, on_device, window_of

__all__ = ["LEVELS", "StreamHeads"]

LEVELS = ("Safe", "Controversial", "Unsafe")
"""The risk levels of the assistant's tokens."""

_PATHS = {"user": "query_", "assistant": ""}
"""Each role → the prefix of the names of its weights."""


class StreamHeads:
    """The network with its state API.

    Args:
        place: `org/name` on the hub, or a folder.
        revision: a commit, tag or branch.
        device: a torch device; None for a GPU if there is one, else the CPU.

    Raises:
        MissingExtra: if torch or transformers is not installed.
        WeightsError: if there is no such model, or it is not a Qwen3Guard-Stream.
        UsageError: if there is no such device, or the model does not fit on it.
    """

    chunks = True
    """A call accepts any number of tokens and judges each of them."""

    def __init__(self, place: str, revision: str | None = None, device: str | None = None) -> None:
        try:
            import torch
            from transformers import Qwen3Config, Qwen3Model
        except ImportError as error:
            raise MissingExtra(f"loading the model {place}", "transformers") from error
        try:
            said = json.loads(file_of(place, "config.json", revision).read_text(encoding="utf-8"))
            weights = _weights(place, revision)
            maps = {"user": said["query_risk_level_map"], "assistant": said["response_risk_level_map"]}
            self.risks = {role: [names[str(i)] for i in range(len(names))] for role, names in maps.items()}
            if sorted(self.risks["assistant"]) != sorted(LEVELS):
                raise ValueError(f"its risk levels are {', '.join(map(str, self.risks['assistant']))}")
            left_out = {
                "auto_map",
                "architectures",
                "model_type",
                "dtype",
                "torch_dtype",
                "transformers_version",
            }
            config = Qwen3Config(**{key: value for key, value in said.items() if key not in left_out})
            self._model = cast("Any", Qwen3Model(config))
            body = {key[6:]: value for key, value in weights.items() if key.startswith("model.")}
            self._model.load_state_dict(body)
            self._heads = {role: _path(weights, prefix) for role, prefix in _PATHS.items()}
        except (KeyError, RuntimeError, OSError, ValueError, TypeError, SafetensorError) as error:
            raise WeightsError(
                f"cannot load {place!r} as a Qwen3Guard-Stream: {first_line(error)}"
            ) from error
        self.window = window_of(config)
        self._eps = float(config.rms_norm_eps)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self._model = on_device(self._model, place, device, dtype=dtype).eval()
        self._heads = {
            role: {name: value.to(device=device, dtype=torch.float32) for name, value in path.items()}
            for role, path in self._heads.items()
        }

    def stream_moderate_from_ids(
        self, token_ids: Any, role: str, stream_state: Any = None
    ) -> tuple[dict[str, list[Any]], Any]:
        """Read more tokens of a conversation.

        Args:
            token_ids: the next token ids, a list or a tensor.
            role: the role that the tokens belong to, `user` or `assistant`.
            stream_state: the state that the last call returned; None at the beginning.

        Returns:
            `risk_level`, `risk_prob` and `risk_probs` (of all levels) for each token, and the new state.
        """
        import torch
        from transformers import DynamicCache

        state = stream_state if stream_state is not None else DynamicCache()
        ids = torch.as_tensor(token_ids, device=self._model.device).reshape(1, -1)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, past_key_values=state, use_cache=True).last_hidden_state[0]
            shares = self._risk(hidden.float(), role).double().softmax(-1).cpu()
        names = self.risks[role]
        best = shares.argmax(-1).tolist()
        told = {
            "risk_level": [names[index] for index in best],
            "risk_prob": shares.max(-1).values.tolist(),
            "risk_probs": [dict(zip(names, row, strict=True)) for row in shares.tolist()],
        }
        return told, state

    def close_stream(self, stream_state: Any) -> None:
        """Close a conversation; does nothing, since no state is kept here."""

    def _risk(self, hidden: Any, role: str) -> Any:
        import torch

        path = self._heads[role]
        inner = hidden @ path["pre"].T
        inner = inner * torch.rsqrt(inner.pow(2).mean(-1, keepdim=True) + self._eps) * path["norm"]
        return inner @ path["risk"].T


def _weights(place: str, revision: str | None) -> dict[str, Any]:
    """Read all weights, from one file or from the shards that an index names."""
    from safetensors.torch import load_file

    try:
        index = file_of(place, "model.safetensors.index.json", revision).read_text(encoding="utf-8")
    except OSError:
        return dict(load_file(file_of(place, "model.safetensors", revision)))
    shards = sorted(set(json.loads(index)["weight_map"].values()))
    return {
        key: value for shard in shards for key, value in load_file(file_of(place, shard, revision)).items()
    }


def _path(weights: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        "pre": weights[f"{prefix}risk_level_category_pre.weight"],
        "norm": weights[f"{prefix}risk_level_category_layernorm.weight"],
        "risk": weights[f"{prefix}risk_level_head.weight"],
    }
