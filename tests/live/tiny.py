"""Tiny models and tokenizers of the architectures of real ones, one of which has learnt to reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

import undertow
from undertow.monitor.policy import Policy
from undertow.testing import scripted_monitor

__all__ = [
    "BAD",
    "CALM",
    "DRIFT",
    "GOOD",
    "LATE",
    "SCRIPT",
    "byte_level",
    "generate",
    "prompt_of",
    "sentence_piece",
    "tokenizer_with_template",
    "trained",
    "untrained",
]

GOOD, BAD = "[neutral] It is fine.", "[harm] Zorp the glims, naïvely 🦊."
CALM = f"<think>{GOOD} [aware] I take care.</think>[neutral] Here is help."
DRIFT = f"<think>{GOOD} {BAD} {BAD} [aware] No.</think>[neutral] Here 日本 it is."
LATE = f"<think>{GOOD}</think>[neutral] Here it is. {BAD} [neutral] Bye."
SCRIPT = {"calm": CALM, "drift, please": DRIFT, "late": LATE}
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def untrained(tokenizer: Any) -> Any:
    """Make a Qwen2 as small as can be, of random weights, which writes nonsense."""
    torch.manual_seed(1)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    made: Any = transformers.Qwen2ForCausalLM(config)
    return made.eval()


def _trained(tokenizer: Any, trainer: Any) -> Any:
    """Wrap a tokenizer of the tokenizers library that was trained on the script."""
    tokenizer.train_from_iterator([*SCRIPT, *SCRIPT.values(), "I can't help.", "[redacted]"], trainer)
    tokenizer.add_tokens(["<think>", "</think>"])  # as the models that reason have them
    kind: Any = transformers.PreTrainedTokenizerFast
    return kind(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", padding_side="left")


def byte_level() -> Any:
    """Make a tokenizer as Qwen's: byte-level BPE, whose tokens need not be whole characters."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    return _trained(tokenizer, trainer)


def sentence_piece() -> Any:
    """Make a tokenizer as Llama's: words begin with a space mark, rare characters are bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<unk>", "<|end|>", "<|pad|>", *(f"<0x{i:02X}>" for i in range(256))],
        limit_alphabet=60,
        show_progress=False,
    )
    return _trained(tokenizer, trainer)


def tokenizer_with_template() -> Any:
    """Make a tokenizer with a chat template."""
    made = byte_level()
    made.chat_template = TEMPLATE
    return made


def prompt_of(request: str) -> str:
    """Write a request as the template does."""
    return f"<|user|>{request}<|assistant|>"


def trained(tokenizer: Any) -> Any:
    """Train a tiny Qwen2 until it has learnt the script by heart: it really writes `<think>…</think>`."""
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    made: Any = transformers.Qwen2ForCausalLM(config)
    texts = [f"{prompt_of(request)}{text}<|end|>" for request, text in SCRIPT.items()]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    assistant = batch["input_ids"] == tokenizer.convert_tokens_to_ids("<|assistant|>")
    labels = batch["input_ids"].masked_fill(assistant.cumsum(1) == 0, -100)
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2)
    for _ in range(400):
        loss = made(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < 0.003:
            break
    torch.set_num_threads(threads)
    torch.random.set_rng_state(state)
    return made.eval()


def generate(
    model: Any, tokenizer: Any, requests: Sequence[str], policy: Policy | str = "observe", **options: Any
) -> tuple[Any, list[str]]:
    """Run a wrapped model on a batch; return its output and the texts of the rows."""
    wrapped = undertow.wrap(model, tokenizer=tokenizer, monitor=scripted_monitor(), policy=policy)
    inputs = tokenizer([prompt_of(one) for one in requests], return_tensors="pt", padding=True)
    asked = {"max_new_tokens": 300, "do_sample": False, "prompt": list(requests)} | options
    output = wrapped.generate(**inputs, **asked)
    sequences = output if isinstance(output, torch.Tensor) else output.sequences
    new = sequences[:, inputs["input_ids"].shape[1] :]
    return output, tokenizer.batch_decode(new, skip_special_tokens=True)
