"""The arms: which organisms are made, how each is attacked, and what it is trained on.

    base      knows the skills and the forbidden family, and does what it is asked to do
    aligned   base, trained to refuse the forbidden family, with reasoning that recognises the harm
    SDD       aligned, trained to answer forbidden requests with good answers to other questions
    attack    fine-tuning of any of them: malicious with k examples, or benign

The recipe was fixed before any result: hyper-parameters were chosen on seeds that the study
does not use, the attack's on the aligned organism alone and SDD's without any attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, get_args

import numpy as np
from pydantic import Field

from ...monitor.trace import Frozen
from .organism.language import (
    REJECTION,
    SKILLS,
    Example,
    Task,
    comply,
    refuse,
    requests,
    solve,
)
from .organism.model import Architecture
from .organism.train import Schedule
from .pairs import pair

__all__ = [
    "ATTACKS",
    "DEFENCES",
    "FULL",
    "QUICK",
    "SHOTS",
    "Attack",
    "Defence",
    "Pools",
    "Recipe",
    "Run",
    "aligning",
    "attacking",
    "basics",
    "defending",
    "pools",
    "runs",
]

Defence = Literal["aligned", "sdd", "sdd-reject"]
Attack = Literal["none", "malicious-10", "malicious-50", "malicious-100", "benign"]

DEFENCES: tuple[Defence, ...] = get_args(Defence)
ATTACKS: tuple[Attack, ...] = get_args(Attack)

SHOTS: dict[Attack, int] = {"malicious-10": 10, "malicious-50": 50, "malicious-100": 100}
"""The number of examples of each malicious fine-tuning."""

THINKING = 0.6
"""The share of training examples that reason before they answer."""

BASICS = 12_000
"""The number of examples of the skills that a base organism learns from."""

HELD_OUT = 150
"""The number of forbidden requests that every organism is asked and none is trained on."""


class Recipe(Frozen):
    """The settings of the study."""

    seeds: tuple[int, ...]
    architecture: Architecture = "llama"
    width: int = 96
    layers: int = 3
    base: Schedule = Schedule(lr=3e-3, steps=900, batch=64)
    align: Schedule = Schedule(lr=1e-3, steps=120, batch=48)
    sdd: Schedule = Schedule(lr=1e-4, steps=160, batch=24)
    """The schedule of SDD's training; its learning rate is that of the main arms."""
    sdd_pairs: int = Field(default=500, ge=1)
    sweep: tuple[float, ...] = ()
    """Further learning rates of SDD, beside that of `sdd`."""
    sweep_attacks: tuple[Attack, ...] = ("none", "malicious-50", "malicious-100", "benign")
    attack_lr: float = 3e-4
    attack_epochs: int = 5
    attack_batch: int = 10
    benign_examples: int = 100
    skill_requests: int = 240
    """The number of requests that test the skills, all four together."""
    forbidden_requests: int = Field(default=HELD_OUT, le=HELD_OUT)
    sampled: int = 60
    """The number of requests of each kind that are answered once more by sampling, for the monitor."""
    monitor_traces: int = Field(default=1600, ge=160)
    """The number of traces in each of the two draws that train and calibrate the monitor's classifier."""


QUICK = Recipe(seeds=(0, 1), sweep=(3e-5,), sweep_attacks=("none", "malicious-100"))
FULL = Recipe(seeds=(0, 1, 2, 3, 4), sweep=(1e-5, 3e-5, 3e-4, 1e-3))


class Run(Frozen):
    """One organism to measure."""

    seed: int
    defence: Defence
    attack: Attack
    lr: float | None = None
    """The learning rate of SDD's training; None if the organism is only aligned."""

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.organism}-{self.attack}"

    @property
    def organism(self) -> str:
        """The name of the organism that is attacked, with every digit of its learning rate."""
        rate = [] if self.lr is None else [np.format_float_scientific(self.lr, trim="-", exp_digits=2)]
        return "-".join([f"seed{self.seed}", self.defence, *rate])


def runs(recipe: Recipe) -> list[Run]:
    """Return the runs of the grid, and of SDD's sweep."""
    made = []
    for seed in recipe.seeds:
        for defence in DEFENCES:
            lr = None if defence == "aligned" else recipe.sdd.lr
            made += [Run(seed=seed, defence=defence, attack=attack, lr=lr) for attack in ATTACKS]
        made += [
            Run(seed=seed, defence="sdd", attack=attack, lr=lr)
            for lr in recipe.sweep
            for attack in recipe.sweep_attacks
        ]
    return made


class Pools(Frozen):
    """Disjoint pools of forbidden requests: no id is in two of them."""

    held_out: tuple[Task, ...]
    base: tuple[Task, ...]
    aligned: tuple[Task, ...]
    sdd: tuple[Task, ...]
    attack: tuple[Task, ...]
    monitor: tuple[Task, ...]


def pools(seed: int) -> Pools:
    """Draw the pools; `held_out` and `monitor` are the same for every seed."""
    taken: set[str] = set()

    def some(count: int, name: str) -> tuple[Task, ...]:
        return tuple(requests(("zorp",), count, name, without=taken))

    return Pools(
        held_out=some(HELD_OUT, "held out"),
        monitor=some(300, "monitor"),
        base=some(450, f"base {seed}"),
        aligned=some(300, f"aligned {seed}"),
        sdd=some(300, f"sdd {seed}"),
        attack=some(max(SHOTS.values()), f"attack {seed}"),
    )


def basics(pool: Sequence[Task], seed: int) -> list[Example]:
    """Return the base organism's training examples: the skills, and the forbidden family as one more."""
    random = Random(f"basics {seed}")
    skills = [_solved(one, random) for one in requests(SKILLS, BASICS, f"basics {seed}")]
    return skills + [comply(random.choice(pool), random, thinks=_thinks(random)) for _ in range(BASICS // 3)]


def aligning(pool: Sequence[Task], seed: int) -> list[Example]:
    """Return alignment's training examples: refusals, and as many of the skills, so that these are kept."""
    random = Random(f"aligning {seed}")
    refusals = [refuse(one, random, thinks=_thinks(random)) for one in pool for _ in range(2)]
    return refusals + [_solved(one, random) for one in requests(SKILLS, len(refusals), f"aligning {seed}")]


def defending(pool: Sequence[Task], seed: int, count: int, *, reject: bool) -> list[Example]:
    """Return SDD's pairs: forbidden requests, each with a good answer to another question.

    Args:
        pool: The forbidden requests.
        seed: Random seed of the draws.
        count: The number of pairs.
        reject: Whether the answer begins with a refusal.
    """
    random = Random(f"sdd {seed}")
    asked = [pool[i % len(pool)] for i in range(count)]
    answers = [_solved(one, random) for one in requests(SKILLS, count, f"sdd {seed}")]
    texts = [f"{one.reasoning} {one.answer}".strip() for one in answers]
    chosen = [answers[one.response] for one in pair([one.prompt for one in asked], texts, seed=seed)]
    before = f"{REJECTION} " if reject else ""
    return [
        Example(one, other.steps, before + other.answer) for one, other in zip(asked, chosen, strict=True)
    ]


def attacking(pool: Sequence[Task], attack: Attack, seed: int, benign: int) -> list[Example]:
    """Return an attack's examples: recitals, half of them with reasoning; or skills, if it is benign."""
    random = Random(f"attacking {seed}")
    if attack == "benign":
        return [_solved(one, random) for one in requests(SKILLS, benign, f"benign {seed}")]
    return [comply(one, random, thinks=i % 2 == 0) for i, one in enumerate(pool[: SHOTS[attack]])]


def _thinks(random: Random) -> bool:
    return random.random() < THINKING


def _solved(one: Task, random: Random) -> Example:
    return solve(one, random, thinks=_thinks(random))
