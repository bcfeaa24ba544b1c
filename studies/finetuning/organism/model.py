"""The organism's model: a causal language model of a common architecture, trained from scratch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from ....classifiers.devices import must_have
from ....errors import WeightsError
from .tokens import make_tokenizer

__all__ = ["Architecture", "Organism", "device_for", "fresh", "load", "save"]

Architecture = Literal["llama", "qwen2"]

_KINDS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
}

WEIGHTS = "model.safetensors"

HEADS = 4

LONGEST = 128
"""The maximum number of tokens of request and response; the longest example has about 80."""


@dataclass(frozen=True, slots=True)
class Organism:
    """A model and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return self.model.device


def device_for(name: str = "auto") -> torch.device:
    """Return the named device; `auto` is a GPU if there is one.

    Raises:
        UsageError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    must_have(name)
    return torch.device(name)


def fresh(
    seed: int,
    *,
    architecture: Architecture = "llama",
    width: int = 96,
    layers: int = 3,
    device: torch.device | None = None,
) -> Organism:
    """Make an untrained organism; the same seed gives the same weights."""
    tokenizer = make_tokenizer()
    make_config, make_model = _KINDS[architecture]
    config = make_config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=LONGEST,
        tie_word_embeddings=True,
        initializer_range=width**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_model(config)
    return Organism(model.to(device or torch.device("cpu")).eval(), tokenizer)


def save(organism: Organism, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokenizer in the format of transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    organism.model.config.save_pretrained(folder)
    organism.tokenizer.save_pretrained(folder)
    save_model(organism.model, str(folder / WEIGHTS), metadata={"format": "pt"})


def load(folder: Path, device: torch.device | None = None) -> Organism:
    """Load an organism that `save` wrote; nothing is fetched from elsewhere.

    Raises:
        WeightsError: There is no organism in the folder, or it cannot be read.
    """
    try:
        settings = json.loads((folder / "config.json").read_bytes())
        make_config, make_model = _KINDS[settings["model_type"]]
        model = make_model(make_config.from_dict(settings))
        load_model(model, folder / WEIGHTS)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{folder}: no organism can be read: {error}; train it again") from error
    return Organism(model.float().to(device or torch.device("cpu")).eval(), tokenizer)
