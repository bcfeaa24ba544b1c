"""Train SDD into a model: supervised fine-tuning on the tokens of the irrelevant responses.

It trains all weights, or low-rank adapters (LoRA) that are merged in the end; either way it writes a whole
model in safetensors. If all weights are trained, they are kept in 32 bits, and only the
computation is in bfloat16: at the paper's learning rate, a step is smaller than the distance from
one bfloat16 value to the next, so nothing would be learned.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from .... import __version__
from ....classifiers.hub import identity, load
from ....errors import InputError, MissingExtra, UndertowError, UsageError
from ....monitor.trace import Frozen
from .build import Example
from .chat import Encoded, encode

__all__ = ["RECIPES", "Recipe", "train"]

Progress = Callable[[int, int, float], None]
"""Called with the step, the number of steps, and the loss."""

IGNORED = -100

SEEN = 64
"""The number of pairs on which the loss is measured before and after."""


class Recipe(Frozen):
    """The training settings."""

    lr: float = Field(gt=0, allow_inf_nan=False)
    """The peak learning rate."""
    steps: int = Field(default=500, ge=1)
    batch: int = Field(default=24, ge=1)
    """Pairs per step, on all devices together."""
    at_once: int = Field(default=4, ge=1)
    """Pairs that a device processes at once; more takes more memory, with the same result up to rounding."""
    longest: int = Field(default=1024, ge=8)
    """The maximum number of tokens of a pair."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    lora: int = Field(default=0, ge=0)
    """The rank of the adapters, on all linear layers, scaled by 2; 0 trains all weights."""
    seed: int = 0


RECIPES: Mapping[str, Recipe] = MappingProxyType({"paper": Recipe(lr=5e-7), "replication": Recipe(lr=2e-5)})
"""Recipes by name. `paper` has the values attributed to the paper: learning rate 5e-7, 500 steps, batch 24.
The replication saw no effect at that rate and used 2e-5. The schedule and the length are ours.
"""


def train(
    model: str, examples: Sequence[Example], recipe: Recipe, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Train, and write the model, its tokenizer and `sdd.json`, which describes the training.

    Args:
        model: A folder, or `org/name@revision`.
        examples: The pairs.
        recipe: The training settings.
        out: The folder for the trained model.
        progress: Called for every step that is logged.

    Returns:
        The content of `sdd.json`, with the loss on the first pairs, in nats per token, before and after.

    Raises:
        MissingExtra: The training libraries are not installed.
        WeightsError: The model does not exist, or not as safetensors.
        InputError: No pair has room for its response.
        UsageError: The folder is that of the model itself, or the batch cannot be divided.
        OSError: The folder cannot be written into.
        UndertowError: The model came to nothing; it is not written.
    """
    _check(recipe)
    place, _, revision = model.partition("@")
    if out.exists() and Path(place).exists() and out.samefile(place):
        raise UsageError(f"{out} is the model that is to be trained: name another folder for the trained one")
    body, tokenizer = load("AutoModelForCausalLM", place, revision or None)
    data = encode(tokenizer, examples, recipe.longest)
    if not data:
        raise InputError(f"no prompt leaves room for a response within {recipe.longest} tokens")
    out.mkdir(parents=True, exist_ok=True)
    body = _adapted(body, recipe) if recipe.lora else body.float()
    pad = tokenizer.pad_token_id or tokenizer.eos_token_id or 0
    trainer = _trainer(body, data, _settings(recipe, out), pad, [_told(progress)] if progress else [])
    before = _loss(trainer)
    trainer.train()
    after = _loss(trainer)
    if not isfinite(after):
        raise UndertowError("the training went astray: the loss is no number; take a lower learning rate")
    trained = body.merge_and_unload() if recipe.lora else body
    trained.save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts = {
        "schema": "undertow.sdd/1",
        "undertow": __version__,
        "model": identity(place, revision or None),
        "recipe": recipe.model_dump(),
        "pairs": len(data),
        "left_out": len(examples) - len(data),
        "loss_before": before,
        "loss_after": after,
    }
    (out / "sdd.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return facts


def _check(recipe: Recipe) -> None:
    """Check, before anything is loaded, for problems that would fail only after hours."""
    try:
        import accelerate  # noqa: F401  (transformers' trainer needs it)
        import torch

        if recipe.lora:
            import peft  # noqa: F401
    except ImportError as error:
        raise MissingExtra("training SDD", "sdd") from error
    together = recipe.at_once * max(1, torch.cuda.device_count())
    if recipe.batch % together:
        raise UsageError(
            f"a batch of {recipe.batch} pairs cannot be made of parts of {together}: let --at-once (now "
            f"{recipe.at_once}) times the number of devices divide --batch"
        )


def _adapted(body: Any, recipe: Recipe) -> Any:
    """Return the model with adapters in 32 bits, which alone are trained."""
    import peft
    import transformers

    transformers.set_seed(recipe.seed)  # the adapters begin at random, before the trainer sets its seed
    config = peft.LoraConfig(
        r=recipe.lora, lora_alpha=2 * recipe.lora, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return peft.get_peft_model(body, config)


def _settings(recipe: Recipe, out: Path) -> Any:
    import torch
    import transformers

    on_gpu = torch.cuda.is_available()
    known = {field.name for field in fields(transformers.TrainingArguments)}
    saving = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    saved: dict[str, Any] = {saving: True} if on_gpu else {}
    return transformers.TrainingArguments(
        output_dir=str(out),
        max_steps=recipe.steps,
        learning_rate=recipe.lr,
        lr_scheduler_type=recipe.schedule,
        per_device_train_batch_size=recipe.at_once,
        per_device_eval_batch_size=recipe.at_once,
        gradient_accumulation_steps=recipe.batch // (recipe.at_once * max(1, torch.cuda.device_count())),
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        **saved,  # gradient checkpointing: less memory, more time; the option was renamed
        use_cpu=not on_gpu,
        seed=recipe.seed,
        logging_steps=max(1, recipe.steps // 50),
        save_strategy="no",  # the trainer's checkpoints contain pickles
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=on_gpu,
    )


def _trainer(body: Any, data: list[Encoded], settings: Any, pad: int, told: Sequence[Any]) -> Any:
    import transformers

    if not settings.use_cpu:
        body.enable_input_require_grads()
    trainer = transformers.Trainer(
        model=body,
        args=settings,
        train_dataset=data,
        eval_dataset=data[:SEEN],
        data_collator=lambda batch: _padded(batch, pad),
        callbacks=list(told),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _loss(trainer: Any) -> float:
    return float(trainer.evaluate()["eval_loss"])


def _told(progress: Progress) -> Any:
    """Return a trainer callback that passes on the logs."""
    import transformers

    class Told(transformers.TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **logged: Any) -> None:
            if "loss" in (logged.get("logs") or {}):
                progress(state.global_step, state.max_steps, float(logged["logs"]["loss"]))

    return Told()


def _padded(batch: Sequence[Encoded], pad: int) -> dict[str, Any]:
    """Return tokens, mask and labels, shape (batch, longest), padded on the right."""
    import torch

    longest = max(len(one.ids) for one in batch)
    rows: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
    for one in batch:
        more = longest - len(one.ids)
        rows["input_ids"].append([*one.ids, *[pad] * more])
        rows["attention_mask"].append([1] * len(one.ids) + [0] * more)
        rows["labels"].append([IGNORED] * one.begin + [*one.ids[one.begin :], *[IGNORED] * more])
    return {name: torch.tensor(values) for name, values in rows.items()}
