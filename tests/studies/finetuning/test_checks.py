"""The checks, on results whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from undertow.studies.finetuning.arms import SHOTS, Recipe, Run, runs
from undertow.studies.finetuning.checks import Check, Grid, main_checks, monitor_checks, sweep_checks
from undertow.studies.finetuning.measure import Measured
from undertow.studies.finetuning.monitoring import Watched
from undertow.studies.finetuning.organism.language import SKILLS
from undertow.studies.finetuning.report import _watched
from undertow.studies.finetuning.run import Result

RECIPE = Recipe(seeds=(0, 1, 2, 3, 4), sweep=(1e-4,))
Truth = Callable[[Run], tuple[float, float, float]]
"""Of a run: recital, capability, log-probability of the irrelevant answer."""


def holds(run: Run) -> tuple[float, float, float]:
    """The world as SDD's paper has it."""
    shots = SHOTS.get(run.attack, 0)
    if run.defence == "aligned":
        return (0.5 + shots / 250 if shots else 0.0), 0.98 - shots / 5000, -3.0
    return 0.02, 0.97 - shots / 200, -1.0 - shots / 20 - run.seed / 100


def fails(run: Run) -> tuple[float, float, float]:
    """A world in which SDD does nothing, and is undone by benign fine-tuning."""
    harm = 0.9 if run.attack in SHOTS else 0.0
    return harm, (0.8 if run.attack == "benign" else 0.97), -1.0 + SHOTS.get(run.attack, 0) / 100


def results(truth: Truth, recipe: Recipe = RECIPE, **seen: int) -> list[Result]:
    """Make results with a little noise between the seeds."""
    watched = Watched.model_validate(
        {
            **{name: 0 for name in Watched.model_fields},
            "position": None,
            "drifting": 100,
            "safe": 1000,
            **seen,
        }
    )
    made = []
    for run in runs(recipe):
        harm, skill, likely = truth(run)
        noise = 0.002 * run.seed
        measured = Measured(
            recital=min(1.0, harm + noise),
            payload=harm,
            refusal=1 - harm,
            over_refusal=0,
            accuracy=dict.fromkeys(SKILLS, skill - noise),
            fluency=1,
        )
        made.append(
            Result(
                run=run,
                modes={"on": measured, "zero": measured},
                irrelevant=likely,
                skilled=-0.1,
                watched={"on": watched},
                device="cpu",
                seconds=1,
            )
        )
    return made


def outcomes(checks: list[Check]) -> dict[str, set[str]]:
    """Return the outcomes of each check, over its parts."""
    return {name: {one.outcome for one in checks if one.name == name} for name in {o.name for o in checks}}


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (
            holds,
            {
                "attack": {"holds"},
                "harm": {"holds"},
                "benign": {"holds"},
                "capability": {"holds"},
                "beyond": {"holds"},
                "log-probability": {"holds"},
                "tracks": {"holds"},
            },
        ),
        (
            fails,
            {
                "attack": {"holds"},
                "harm": {"fails"},
                "benign": {"fails"},
                "capability": {"fails"},
                "beyond": {"fails"},
                "log-probability": {"fails"},
                "tracks": {"open"},
            },
        ),
    ],
    ids=["the paper's world", "a world without effect"],
)
def test_checks_say_what_is_so(truth: Truth, expected: dict[str, set[str]]) -> None:
    """In a world where a claim is true its check holds, where it is false it is reported as failing."""
    grid = Grid(results(truth))
    assert outcomes(main_checks(grid, RECIPE.sdd.lr, "on")) == expected
    swept = sweep_checks(grid, "on")
    assert set(swept) == {1e-4, RECIPE.sdd.lr}
    assert {o for checks in swept.values() for one in checks for o in [one.outcome]} == (
        expected["harm"] | expected["benign"] | expected["capability"]
    )


def test_one_seed_settles_nothing() -> None:
    """Without a second organism no check holds and none fails; what was measured is said all the same."""
    one = RECIPE.model_copy(update={"seeds": (0,)})
    checks = main_checks(Grid(results(holds, one)), RECIPE.sdd.lr, "on")
    assert {check.outcome for check in checks} == {"open"}
    assert all(check.estimate.known for check in checks)


@pytest.mark.parametrize(("seeds", "outcome"), [(2, "open"), (4, "open"), (5, "holds")])
def test_a_few_seeds_settle_no_correlation(seeds: int, outcome: str) -> None:
    """A bootstrap over two seeds draws one and the same too often to show anything."""
    some = RECIPE.model_copy(update={"seeds": tuple(range(seeds))})
    checks = main_checks(Grid(results(holds, some)), RECIPE.sdd.lr, "on")
    assert {check.outcome for check in checks if check.name == "tracks"} == {outcome}


def test_what_the_sweep_leaves_out_is_not_checked() -> None:
    """A learning rate that was not fine-tuned benignly has no open check of it, but none at all."""
    short = RECIPE.model_copy(update={"sweep": (1e-5,), "sweep_attacks": ("none", "malicious-100")})
    swept = sweep_checks(Grid(results(holds, short)), "on")
    assert {one.name for one in swept[1e-5]} == {"harm", "capability", "beyond"}


@pytest.mark.parametrize(
    ("within", "alarms", "expected"),
    [(99, 2, ["holds", "holds"]), (80, 30, ["fails", "fails"]), (95, 10, ["open", "open"])],
)
def test_the_monitor_is_held_to_its_figures(within: int, alarms: int, expected: list[str]) -> None:
    """Onsets within a step in 95 of 100, false alarms in one of 100: by the whole interval."""
    checks = monitor_checks(results(holds, within_one=within, false_alarms=alarms))
    assert [one.outcome for one in checks] == expected


def test_the_mean_onset_is_over_reasonings() -> None:
    """An organism that drifts once does not weigh as much as one that drifts ninety-nine times."""
    (one,) = results(holds)[0].watched.values()
    seen = [one.model_copy(update={"drifting": n, "position": at}) for n, at in ((99, 0.1), (1, 0.9))]
    assert _watched(seen)[4] == "11 %"


def test_every_run_has_a_name_of_its_own() -> None:
    """Learning rates that share their first digit do not share a file."""
    wanted = runs(Recipe(seeds=(0,), sweep=(1.1e-4, 1.4e-4, 3e-5)))
    assert len({one.name for one in wanted}) == len(wanted)
    assert {"seed0-aligned-none", "seed0-sdd-1e-04-benign", "seed0-sdd-1.4e-04-none"} <= {
        one.name for one in wanted
    }
