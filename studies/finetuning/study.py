"""Run the whole study: the grid, then its page."""

from __future__ import annotations

from pathlib import Path

import yaml

from ..amplification.page import Page
from .arms import FULL, QUICK, Recipe
from .report import DESIGN, page
from .run import TRANSCRIPTS, Say, make

__all__ = ["recipe_for", "study"]


def recipe_for(*, quick: bool, seeds: int | None = None) -> Recipe:
    """Return the recipe of the full or the quick study, with another number of seeds if one is given."""
    chosen = QUICK if quick else FULL
    return chosen if seeds is None else chosen.model_copy(update={"seeds": tuple(range(seeds))})


def study(
    recipe: Recipe, out: Path, *, workers: int | None = None, device: str = "auto", say: Say = print
) -> Page:
    """Compute the missing results of the grid; return the page of all results.

    The folder then also has the responses and a design for `undertow study amplification`, and the
    labelled steps for `undertow train`.

    Raises:
        UsageError: The folder holds results of another recipe.
        UndertowError: A part of the grid failed.
    """
    results = make(recipe, out, workers=workers, device=device, say=say)
    (out / "amplification.yaml").write_text(yaml.safe_dump(DESIGN), encoding="utf-8")
    return page(recipe, results, out / TRANSCRIPTS)
