"""Make organisms: base, aligned, defended, attacked; all but the attacked ones are checkpoints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import torch

from ...errors import WeightsError
from .arms import Recipe, Run, aligning, attacking, basics, defending, pools
from .organism.language import Example
from .organism.model import Organism, fresh, load, save
from .organism.tokens import encode
from .organism.train import Schedule, fine_tune

__all__ = ["aligned", "attacked", "defended", "pairs"]


def aligned(recipe: Recipe, out: Path, seed: int, device: torch.device) -> Organism:
    """Return a seed's aligned organism, trained from its base."""
    pool = pools(seed)

    def base() -> Organism:
        organism = fresh(
            seed, architecture=recipe.architecture, width=recipe.width, layers=recipe.layers, device=device
        )
        return _trained(organism, basics(pool.base, seed), recipe.base, seed)

    def tamed() -> Organism:
        organism = _checkpoint(out, f"seed{seed}-base", base, device)
        return _trained(organism, aligning(pool.aligned, seed), recipe.align, seed)

    return _checkpoint(out, f"seed{seed}-aligned", tamed, device)


def defended(recipe: Recipe, out: Path, run: Run, device: torch.device) -> Organism:
    """Return the organism that a run attacks."""

    def degraded() -> Organism:
        organism = aligned(recipe, out, run.seed, device)
        schedule = recipe.sdd.model_copy(update={"lr": run.lr})
        return _trained(organism, pairs(recipe, run), schedule, run.seed)

    if run.lr is None:
        return aligned(recipe, out, run.seed, device)
    return _checkpoint(out, run.organism, degraded, device)


def attacked(recipe: Recipe, organism: Organism, run: Run) -> Organism:
    """Return a copy of an organism, fine-tuned as a run's attack says; unchanged without an attack."""
    copy = Organism(deepcopy(organism.model), organism.tokenizer)
    if run.attack == "none":
        return copy
    examples = attacking(pools(run.seed).attack, run.attack, run.seed, recipe.benign_examples)
    steps = -(-len(examples) // recipe.attack_batch) * recipe.attack_epochs
    schedule = Schedule(lr=recipe.attack_lr, steps=steps, batch=recipe.attack_batch)
    return _trained(copy, examples, schedule, run.seed)


def pairs(recipe: Recipe, run: Run) -> list[Example]:
    """Return a run's SDD training pairs; for an only aligned organism, the pairs that SDD would have had."""
    return defending(pools(run.seed).sdd, run.seed, recipe.sdd_pairs, reject=run.defence == "sdd-reject")


def _trained(organism: Organism, examples: Sequence[Example], schedule: Schedule, seed: int) -> Organism:
    fine_tune(organism, encode(organism.tokenizer, examples), schedule, seed)
    return organism


def _checkpoint(out: Path, name: str, build: Callable[[], Organism], device: torch.device) -> Organism:
    """Load a checkpoint; if it is missing or damaged, make it. Its folder appears once it is complete."""
    folder = out / "organisms" / name
    with suppress(WeightsError):
        return load(folder, device)
    organism = build()
    beside = folder.with_name(f".{name}.{os.getpid()}")
    save(organism, beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.replace(folder)
    return load(folder, device)
