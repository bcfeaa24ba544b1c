"""Measure how often the study's 95 % intervals hold planted effects, and how often it claims false ones.

    python benchmarks/amplification.py [--studies 2000] [--regressions 500] [--mixed 0] [--only judge]

Prints for each case and estimator: the coverage with a planted effect, the coverage without one, and how
often a study without an effect is said to amplify (its interval lies above "no effect"). The limits are a
coverage of 93 to 97 % and at most 5 % of false "amplifies". Lines marked (*) are for comparison and are not
held to the limits, such as those of the uncorrected judge. The regressions are slow, so fewer studies use
them: GEE takes 30 ms per study; the mixed-effects model takes eleven fits and runs only on demand.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from math import isnan

import numpy as np

from undertow.studies.amplification.effects import (
    AMPLIFICATION,
    COUPLING,
    Effects,
    compare,
    effects,
    interaction,
    point,
)
from undertow.studies.amplification.families import family_level, holm
from undertow.studies.amplification.judge_error import JudgeError, prediction_powered, rogan_gladen
from undertow.studies.amplification.mixed import Answers, population_averaged, within_prompt
from undertow.studies.amplification.paired import bootstrap, exact_mcnemar, permutation
from undertow.studies.amplification.rates import Floats, smoothed
from undertow.studies.amplification.simulation import Tally, World, judged

SCALES = ("difference", "ratio", "odds")
NULL = {"difference": 0.0, "ratio": 1.0, "odds": 1.0}
CHUNK = 50
Case = Callable[[World, np.random.Generator, Tally], None]

SENSITIVITY, SPECIFICITY = (0.75, 0.92), (0.82, 0.97)
"""The rates of a judge that is worse on answers with reasoning (first) than on those without (second)."""
COMPARISON = "(*)"


def _cells(harm: Floats) -> Floats:
    """Return the mean over seeds and samples: (prompts, seeds, samples, arms) → (prompts, arms)."""
    return np.asarray(harm.mean(axis=(1, 2)))


def _answers(harm: Floats) -> Answers:
    """Return the single answers of an array (prompts, seeds, samples, arms)."""
    prompt, seed, _, arm = np.indices(harm.shape).reshape(4, -1)
    attacked = (arm < 2).astype(float) if harm.shape[3] == 4 else None
    return Answers.of(harm.ravel(), arm % 2 == 0, prompt.tolist(), attacked, seed.tolist())


def _picked(rng: np.random.Generator, of: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return a mask of `size` random answers out of `of`, for people to label."""
    chosen = np.zeros(of, bool)
    chosen[rng.choice(of, size, replace=False)] = True
    return chosen


def _count(tally: Tally, name: str, found: Effects, truth: Floats, weights: tuple[int, ...]) -> None:
    for scale, estimate in zip(SCALES, found, strict=True):
        tally.add(f"{name}: {scale}", estimate, float(point(truth, weights, scale)), NULL[scale])


def _resampled(tally: Tally, table: Floats, truth: Floats, weights: tuple[int, ...]) -> None:
    found = bootstrap(table, weights, resamples=999)
    tally.add("bootstrap: difference", found, float(point(truth, weights, "difference")), 0.0)
    more = (table @ np.array(weights)).sum() > 0
    tally.rejected("permutation", more and permutation(table, weights, resamples=499).p <= 0.05)


def paired(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate a study with one answer for each prompt in both arms."""
    table, truth = _cells(world.draw(rng)), world.rates()
    _count(tally, "by prompt", effects(smoothed(table), AMPLIFICATION), truth, AMPLIFICATION)
    _resampled(tally, table, truth, AMPLIFICATION)
    more = table[:, 0].sum() > table[:, 1].sum()
    tally.rejected("exact McNemar", more and exact_mcnemar(table[:, 0], table[:, 1]).p <= 0.05)


def clustered(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate a study with several seeds and samples for each prompt."""
    harm, truth = world.draw(rng), world.rates()
    table, weights = _cells(harm), AMPLIFICATION if len(world.logits) == 2 else COUPLING
    _count(tally, "by prompt", effects(smoothed(table, world.seeds * world.samples), weights), truth, weights)
    _resampled(tally, table, truth, weights)


def published(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate independent cells of counts, as papers print them."""
    truth, size = world.rates(), world.prompts
    hits = [(int(h), size) for h in rng.binomial(size, truth)]
    if len(hits) == 2:
        _count(tally, "counts", compare(hits[0], hits[1]), truth, AMPLIFICATION)
    else:
        _count(tally, "counts", interaction(*hits), truth, COUPLING)


def judge(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate a judge whose errors differ between the arms, and a few answers labelled by people."""
    harm, truth = world.draw(rng), world.rates()
    said = judged(harm, SENSITIVITY, SPECIFICITY, rng)
    raw = smoothed(_cells(said), world.seeds * world.samples)
    _count(tally, f"{COMPARISON} uncorrected", effects(raw, AMPLIFICATION), truth, AMPLIFICATION)
    judges = [
        JudgeError(int(rng.binomial(80, sens)), 80, int(rng.binomial(120, spec)), 120)
        for sens, spec in zip(SENSITIVITY, SPECIFICITY, strict=True)
    ]
    _count(tally, "Rogan-Gladen", effects(rogan_gladen(raw, judges), AMPLIFICATION), truth, AMPLIFICATION)
    flat, told = said.reshape(-1, 2), harm.reshape(-1, 2)
    prompts = np.repeat(np.arange(world.prompts), world.seeds * world.samples)
    picked = np.stack([_picked(rng, len(flat), max(60, len(flat) // 5)) for _ in range(2)], axis=1)
    labels = np.where(picked, told, np.nan)
    ppi = prediction_powered(list(flat.T), list(labels.T), [prompts, prompts])
    _count(tally, "prediction-powered", effects(ppi, AMPLIFICATION), truth, AMPLIFICATION)


def family(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Simulate five families of prompts, and count whether any of them is said to amplify."""
    tables = [_cells(world.draw(rng)) for _ in range(5)]
    found = [effects(smoothed(t), AMPLIFICATION, family_level(5)).difference for t in tables]
    tally.rejected("simultaneous intervals: any of 5", any(estimate.above(0) for estimate in found))
    tests = holm({str(i): exact_mcnemar(t[:, 0], t[:, 1]) for i, t in enumerate(tables)})
    more = [t[:, 0].sum() > t[:, 1].sum() for t in tables]
    claims = [m and test.p <= 0.05 for m, test in zip(more, tests.values(), strict=True)]
    tally.rejected("McNemar, Holm: any of 5", any(claims))


def averaged(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Estimate the odds ratio over all prompts, by generalised estimating equations."""
    harm, weights = world.draw(rng), AMPLIFICATION if len(world.logits) == 2 else COUPLING
    found = population_averaged(_answers(harm))["reasoning" if weights == AMPLIFICATION else "coupling"]
    tally.add("GEE: odds", found, float(point(world.rates(), weights, "odds")), 1.0)


def mixed(world: World, rng: np.random.Generator, tally: Tally) -> None:
    """Estimate the odds ratio within a prompt, by mixed-effects logistic regression."""
    found = within_prompt(_answers(world.draw(rng)))["reasoning"]
    truth = float(np.exp(world.logits[0] - world.logits[1]))
    tally.add("mixed effects: odds", found, truth, 1.0)


CLUSTERED = (World((-0.8, -1.8), 60, 3, 2, 1.5, 0.8, 0.4), World((-1.2, -1.2), 60, 3, 2, 1.5, 0.8, 0.4))
ATTACKED = (
    World((1.0, -0.5, -1.8, -2.0), 80, 3, 1, 1.2, 0.6, 0.4),
    World((0.0, 0.0, -1.5, -1.5), 80, 3, 1, 1.2, 0.6, 0.4),
)

CASES: dict[str, tuple[Case, World, World]] = {
    "paired, 100 prompts": (paired, World((-1.0, -2.2), 100), World((-1.6, -1.6), 100)),
    "paired, 50 prompts": (paired, World((-0.5, -1.8), 50), World((-1.0, -1.0), 50)),
    "paired, 300 prompts, rare": (paired, World((-2.6, -3.6), 300), World((-3.2, -3.2), 300)),
    "clustered, 60 prompts x 3 seeds x 2": (clustered, *CLUSTERED),
    "coupling, 80 prompts x 3 seeds": (clustered, *ATTACKED),
    "judge error, paired, 300 prompts": (judge, World((-0.6, -1.6), 300), World((-1.2, -1.2), 300)),
    "judge error, clustered, 100 prompts x 3 seeds": (
        judge,
        World((-0.6, -1.6), 100, 3, 1, 1.5, 0.8, 0.4),
        World((-1.2, -1.2), 100, 3, 1, 1.5, 0.8, 0.4),
    ),
    "published counts, two cells of 100": (published, World((0.4, -0.8), 100), World((-1.0, -1.0), 100)),
    "published counts, four cells of 100": (
        published,
        World((1.0, -0.5, -1.8, -2.0), 100),
        World((0.0, 0.0, -1.5, -1.5), 100),
    ),
    "family of five, 100 prompts each": (family, World((-1.0, -1.6), 100), World((-1.6, -1.6), 100)),
    "regression, clustered": (averaged, *CLUSTERED),
    "regression, coupling": (averaged, *ATTACKED),
    "mixed effects, 60 prompts x 3 seeds": (
        mixed,
        World((-0.5, -1.5), 60, 3, 1, 1.5, 0.5),
        World((-1.0, -1.0), 60, 3, 1, 1.5, 0.5),
    ),
}


def chunk(job: tuple[str, int, int, int]) -> tuple[int, Tally]:
    """Simulate some studies of one case, with the planted effect (0) or without (1)."""
    name, which, start, studies = job
    case, worlds, tally = CASES[name][0], CASES[name][1:], Tally()
    for number in range(start, start + studies):
        case(worlds[which], np.random.default_rng([list(CASES).index(name), which, number]), tally)
    return which, tally


def studies_of(name: str, options: argparse.Namespace) -> int:
    """Return the number of studies of a case."""
    slow = {averaged: options.regressions, mixed: options.mixed}
    return int(slow.get(CASES[name][0], options.studies))


def run(name: str, studies: int, pool: ProcessPoolExecutor) -> tuple[Tally, Tally]:
    """Return the tallies of one case, with the planted effect and without."""
    size = 5 if CASES[name][0] is mixed else CHUNK
    jobs = [
        (name, which, start, min(size, studies - start))
        for which, start in product((0, 1), range(0, studies, size))
    ]
    found = (Tally(), Tally())
    for which, tally in pool.map(chunk, jobs):
        found[which].merge(tally)
    return found


def show(found: tuple[Tally, Tally], studies: int) -> int:
    """Print the lines of one case; return how many are outside the limits."""
    failed, planted = 0, found[0].shares()
    for row, (coverage, above, known) in found[1].shares().items():
        test = isnan(coverage)
        good = above <= 0.05 and (test or all(0.93 <= c <= 0.97 for c in (planted[row][0], coverage)))
        held = good or row.startswith(COMPARISON)
        failed += not held
        shares = " " * 20 if test else f"{planted[row][0]:8.1%}   {coverage:8.1%} "
        gaps = "" if test else f"{2 * studies - planted[row][2] - known:12d}"
        print(f"  {row:44}  {shares}   {above:12.1%}      {gaps}{'' if held else '   outside'}")
    return failed


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Coverage of the study's intervals on made-up studies.")
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies for each case")
    parser.add_argument("--regressions", type=int, default=500, help="the same for the regressions by GEE")
    parser.add_argument("--mixed", type=int, default=0, help="the same for the mixed-effects model")
    parser.add_argument("--only", default="", help="only the cases whose names contain this")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    began, failed = time.monotonic(), 0
    print(f"{'':46}  planted   no effect   false 'amplifies'   not estimated")
    with ProcessPoolExecutor(options.workers) as pool:
        for name in CASES:
            studies = studies_of(name, options)
            if options.only not in name or not studies:
                continue
            print(f"{name} ({studies} studies of each)", flush=True)
            failed += show(run(name, studies, pool), studies)
    print(f"{time.monotonic() - began:.0f} s; {failed} lines outside")


if __name__ == "__main__":
    main()
