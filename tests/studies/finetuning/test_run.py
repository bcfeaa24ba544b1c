"""The grid, from nothing to its page, with organisms too small to learn anything."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from undertow.cli import main
from undertow.errors import UndertowError, UsageError
from undertow.studies.amplification.report import write
from undertow.studies.finetuning.arms import QUICK, Recipe, runs
from undertow.studies.finetuning.organism.train import Schedule
from undertow.studies.finetuning.run import _pool, make, read_results
from undertow.studies.finetuning.study import study


def schedule(steps: int) -> Schedule:
    """Return a schedule that is over at once."""
    return Schedule(lr=1e-3, steps=steps, batch=8)


TINY = Recipe(
    seeds=(0, 1),
    width=16,
    layers=1,
    base=schedule(2),
    align=schedule(1),
    sdd=schedule(1),
    sdd_pairs=20,
    sweep=(1e-4,),
    sweep_attacks=("none", "malicious-100"),
    attack_epochs=1,
    benign_examples=10,
    skill_requests=8,
    forbidden_requests=3,
    sampled=2,
    monitor_traces=160,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the whole tiny grid."""
    out = tmp_path_factory.mktemp("grid")
    make(TINY, out, workers=1, device="cpu", say=lambda _: None)
    return out


def test_the_grid_is_whole(made: Path) -> None:
    """Every run has its result and its responses, in both modes, and goes on where it was."""
    results = read_results(made, runs(TINY))
    assert len(results) == 2 * (3 * 5 + 2)
    assert all(
        set(one.modes) == {"on", "zero"} and set(one.watched) == {"on", "zero", "sampled"} for one in results
    )
    rows = (made / "transcripts" / f"{results[0].run.name}.jsonl").read_text("utf-8").splitlines()
    assert len(rows) == 2 * (8 + 3)
    before = {path: path.stat().st_mtime_ns for path in (made / "runs").iterdir()}
    lost = made / "runs" / f"{results[0].run.name}.json"
    lost.unlink()
    said: list[str] = []
    again = make(TINY, made, workers=1, device="cpu", say=said.append)
    assert said[0] == "33 of 34 organisms are measured, 1 to go"
    assert [path for path, time in before.items() if path.stat().st_mtime_ns != time] == [lost]
    assert [one.model_copy(update={"seconds": 0.0}) for one in again] == [
        one.model_copy(update={"seconds": 0.0}) for one in results
    ]


def test_another_recipe_is_refused(made: Path) -> None:
    """Results of two recipes never stand in one folder."""
    with pytest.raises(UsageError, match="another recipe"):
        make(TINY.model_copy(update={"attack_lr": 1.0}), made, workers=1)


def test_a_part_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """What cannot be made stops its own seed; the rest is made, and the next call finishes."""
    held = tmp_path / "organisms" / "seed0-base"
    held.parent.mkdir()
    held.touch()
    said: list[str] = []
    with pytest.raises(UndertowError, match="1 part failed, first NotADirectoryError"):
        make(TINY, tmp_path, workers=1, device="cpu", say=said.append)
    assert (tmp_path / "organisms" / "seed1-aligned").is_dir()
    assert any("failed" in line for line in said)


def test_what_a_break_left_half_written_is_made_again(made: Path, tmp_path: Path) -> None:
    """A checkpoint, a result, responses: what is damaged or lost is made anew, and the rest is kept."""
    out = tmp_path / "broken"
    shutil.copytree(made, out)
    wanted = runs(TINY)
    damaged = [
        out / "organisms" / "seed0-aligned" / "model.safetensors",
        out / "runs" / f"{wanted[0].name}.json",
    ]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-10])
    (out / "transcripts" / f"{wanted[-1].name}.jsonl").unlink()
    (out / "monitor" / "calibration.json").write_text("{")
    for number, text in ((1, '{"half'), (2, "")):
        (out / "transcripts" / f"{wanted[number].name}.jsonl").write_text(text)
    said: list[str] = []
    again = make(TINY, out, workers=1, device="cpu", say=said.append)
    assert said[0] == "30 of 34 organisms are measured, 4 to go"
    bare = [
        [one.model_copy(update={"seconds": 0.0}) for one in found]
        for found in (again, read_results(made, wanted))
    ]
    assert bare[0] == bare[1]
    study(TINY, out, workers=1, device="cpu", say=said.append)


def test_an_interruption_ends_the_parts_under_way() -> None:
    """Ctrl-C, or a signal to the first process alone, does not wait for hours of training."""
    with pytest.raises(KeyboardInterrupt), _pool(2) as pool:
        assert pool
        part = pool.submit(time.sleep, 60)
        raise KeyboardInterrupt
    with pytest.raises(BrokenProcessPool):
        part.result()


def test_a_device_that_is_not_there_is_known_first(tmp_path: Path) -> None:
    """Nothing is trained, and nothing written, before that is said."""
    with pytest.raises(UsageError, match=r"cannot use the device .nonsense.: "):
        make(TINY, tmp_path / "out", device="nonsense")
    assert not (tmp_path / "out").exists()


def test_a_recipe_that_cannot_be_read_is_another(tmp_path: Path) -> None:
    """A folder of another version is refused in a sentence."""
    (tmp_path / "recipe.json").write_text('{"seeds": [0], "of_old": 1}')
    with pytest.raises(UsageError, match="another recipe"):
        make(TINY, tmp_path, workers=1)


def test_the_page_has_every_part(made: Path, tmp_path: Path) -> None:
    """From the results come the table, the figures, and the outcome of every check."""
    page = study(TINY, made, workers=1, device="cpu", say=lambda _: None)
    written = {path.name for path in write(page, tmp_path)}
    assert written == {"study.json", "study.html", "arms.svg", "arms.png", "effects.svg", "effects.png"}
    found = json.loads((tmp_path / "study.json").read_text("utf-8"))
    assert set(found["checks"]) == {"on", "zero"}
    assert {*found["checks"]["on"].values(), *found["monitor"].values()} <= {"holds", "fails", "open"}
    assert found["recipe"]["seeds"] == [0, 1]


def test_the_responses_are_transcripts_for_the_first_study(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The design beside them tells the study of amplification which arm each is in."""
    study(TINY, made, workers=1, device="cpu", say=lambda _: None)
    own = sorted((made / "transcripts").glob("seed*-aligned-*.jsonl"))
    arguments = ["study", "amplification", *map(str, own), "--design", str(made / "amplification.yaml")]
    monkeypatch.setattr(
        "sys.argv", ["undertow", *arguments, "--quick", "--classifier", "none", "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 0
    arms = json.loads((tmp_path / "study.json").read_text("utf-8"))["sections"]["The arms"]
    assert set(arms) == {"base, on", "base, zero", "fine-tuned, on", "fine-tuned, zero"}


def test_the_grid_needs_no_more_than_it_says() -> None:
    """The grid imports neither the command line nor what tables and figures need."""
    absent = ("matplotlib", "spacy", "typer", "rich")
    code = (
        f"import sys\nfor name in {absent}: sys.modules[name] = None\n"
        "from undertow.studies.finetuning import demo, run, tune"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_quick_recipe_has_every_arm() -> None:
    """Quick means fewer seeds and learning rates, not fewer arms."""
    assert len({(one.defence, one.attack) for one in runs(QUICK)}) == 15
