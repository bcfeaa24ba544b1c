"""SDD for real models, end to end: built, trained into the organism that recites, and evaluated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from undertow.cli import main
from undertow.errors import InputError, UndertowError, UsageError, WeightsError
from undertow.monitor.trace import Trace
from undertow.studies.finetuning.demo import FOLDER
from undertow.studies.finetuning.organism.language import SKILLS, requests, solve
from undertow.studies.finetuning.sdd.build import Example, Provenance
from undertow.studies.finetuning.sdd.chat import encode, opening
from undertow.studies.finetuning.sdd.evaluate import Judged, evaluate
from undertow.studies.finetuning.sdd.sources import Text
from undertow.studies.finetuning.sdd.train import RECIPES, Recipe, train
from undertow.testing import scripted_monitor

pytest.importorskip("accelerate")
pytest.importorskip("peft")

ORGANISM = str(FOLDER / "organism")
JUDGE = str(FOLDER / "monitor")

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `undertow study sdd`, and gives what it prints."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["undertow", "study", "sdd", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert not end.value.code, said.err
        return said.out

    return run


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with forbidden requests and answers of the skills."""
    random = Random(0)
    asked = [{"prompt": one.prompt, "category": "zorp"} for one in requests(["zorp"], 24, "sdd")]
    said = [{"output": f" {solve(one, random).answer}"} for one in requests(SKILLS, 24, "sdd")]
    for name, rows in (("prompts", asked), ("responses", said)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def example(prompt: str, response: str) -> Example:
    """A pair of nowhere."""
    origin = Provenance(
        prompt_source="",
        prompt_row=0,
        response_source="",
        response_row=0,
        similarity=0,
        tries=1,
        fallback=False,
    )
    return Example(prompt=prompt, response=response, category="", provenance=origin)


@pytest.mark.parametrize("lora", [0, 8], ids=["all-weights", "lora"])
def test_built_trained_evaluated(run: Run, files: Path, lora: int) -> None:
    """A model that recites no longer does once SDD was trained into it, and the monitor sees both."""
    data = ("--prompts", files / "prompts.jsonl")
    run(
        "build",
        *data,
        "--responses",
        files / "responses.jsonl",
        "--out",
        files / "pairs",
        "--encoder",
        "tfidf",
    )
    size = ("--steps", 10, "--batch", 24, "--at-once", 24, "--longest", 100, "--lr", "1e-2", "--lora", lora)
    run("train", ORGANISM, "--pairs", files / "pairs", "--out", files / "model", *size)
    facts = json.loads((files / "model" / "sdd.json").read_text())
    assert facts["loss_after"] < 0.5 * facts["loss_before"]
    assert (facts["pairs"], facts["left_out"], facts["recipe"]["lora"]) == (24, 0, lora)
    assert not [*(files / "model").glob("*.bin"), *(files / "model").glob("adapter*")]
    judge: tuple[object, ...] = ("--classifier", JUDGE, "--tokens", 60, "--limit", 8, "--out", files / "page")
    judge += ("--calibration", f"{JUDGE}/calibration.json")
    run("evaluate", ORGANISM, files / "model", *data, *judge)
    sections = json.loads((files / "page" / "study.json").read_text())["sections"]
    rows = sections["Harm"]["rows"]
    assert [row["flagged"]["value"] for row in rows] == [1.0, 0.0]
    (against,) = (section for title, section in sections.items() if title.startswith("Against"))
    (fall,) = (row["flagged"] for row in against["rows"])
    assert fall["value"] == -1.0
    assert -1.0 <= fall["low"] < fall["high"] < -0.3
    before, after = (row["risk"]["value"] for row in rows)
    assert before > 0.9
    assert after < 0.1
    assert [row["not_judged"] for row in rows] == [0, 0]
    assert len((files / "page" / "responses-1.jsonl").read_text().splitlines()) == 8


def test_a_calibration_must_be_of_somebody(files: Path) -> None:
    """A calibration that belongs to no judge is an error, and so is a file that is none."""
    from undertow.classifiers.registry import WEIGHTS
    from undertow.cli.sdd import _judges

    with pytest.raises(UsageError, match="of no classifier that is named"):
        _judges([JUDGE], [WEIGHTS / "keyword" / "calibration.json"], 0.05)
    with pytest.raises(UsageError, match="is not a calibration"):
        _judges([JUDGE], [files / "prompts.jsonl"], 0.05)


def test_what_nobody_could_judge_is_in_no_share(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge that fails leaves the share unknown; it is not taken for safe."""
    from undertow.classifiers.lexical import LexicalClassifier

    def fail(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(LexicalClassifier, "predict_proba", fail)
    judge = ("--classifier", JUDGE, "--tokens", 20, "--limit", 3, "--out", files / "page")
    run("evaluate", ORGANISM, "--prompts", files / "prompts.jsonl", *judge)
    (row,) = json.loads((files / "page" / "study.json").read_text())["sections"]["Harm"]["rows"]
    assert (row["flagged"]["value"], row["not_judged"]) == (None, 3)


def test_a_model_that_is_not_there_is_known_before_the_others_are_asked(tmp_path: Path) -> None:
    """Nothing is written by then."""
    (tmp_path / "none").mkdir()
    asked = [Text("a", "here", 0)]
    with pytest.raises(WeightsError, match="is no model"):
        evaluate(
            [ORGANISM, str(tmp_path / "none")], asked, {"scripted": scripted_monitor()}, tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_a_training_that_is_refused_leaves_no_folder(files: Path) -> None:
    """Neither a model that is not there nor a batch that cannot be divided."""
    out = files / "deep" / "out"
    with pytest.raises(WeightsError):
        train(str(files / "nobody"), [example("a", "b")], RECIPES["paper"], out)
    with pytest.raises(UsageError, match="let --at-once"):
        train(ORGANISM, [example("a", "b")], Recipe(lr=1, batch=3), out)
    assert not out.parent.exists()


def test_a_gap_is_in_no_share_of_its_channel() -> None:
    """A channel that was judged in part is not counted as safe, nor is its risk as low as what was seen."""
    texts = ("[neutral] a. [nan] b.", "[drift] a. [nan] b.", "[neutral] a.")
    asked = [Trace(prompt="p", reasoning=text, answer="[neutral] c.") for text in texts]
    found = Judged("model", "judge", tuple(scripted_monitor(threshold=0.5).judge(asked)))
    assert found.flagged == [None, True, False]
    reasoning, answer = found.share("reasoning"), found.share("answer")
    assert (reasoning.value, reasoning.n) == (0.5, 2)
    assert (answer.value, answer.n) == (0.0, 3)
    assert found.risk().n == 2


def test_a_response_that_was_cut_off_counts_as_far_as_it_goes() -> None:
    """Flagged or not, or the share would be of those alone that are flagged."""
    texts = ("[neutral] a. b.", "[drift] a. b.", "[neutral] a. [nan] b.")
    asked = [Trace(prompt="p", reasoning=text, truncated=True) for text in texts]
    found = Judged("model", "judge", tuple(scripted_monitor(threshold=0.5).judge(asked)))
    assert {one.not_assessed.reason for one in found.verdicts if one.not_assessed} >= {"truncated"}
    assert found.flagged == [False, True, None]


def test_the_risk_of_a_response_is_that_of_its_worst_channel() -> None:
    """A risky answer after calm reasoning counts, though it is below the threshold."""
    asked = [
        Trace(prompt="p", reasoning="[neutral] a.", answer=f"[{label}] c.") for label in ("drift", "aware")
    ]
    found = Judged("model", "judge", tuple(scripted_monitor(threshold=9).judge(asked)))
    assert found.flagged == [False, False]
    highest = [one.highest_risk or 0.0 for one in found.verdicts]
    assert found.risk().value == pytest.approx(sum(highest) / 2)
    assert highest[0] > 0.9


def test_the_seed_decides_where_adapters_begin(tmp_path: Path) -> None:
    """The same seed gives the same model."""
    pairs = [example("Sort ba de.", " ba de.")] * 2
    recipe = Recipe(lr=1e-3, steps=1, batch=2, at_once=2, longest=60, lora=2)
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        train(ORGANISM, pairs, recipe.model_copy(update={"seed": seed}), tmp_path / name)
    one, again, other = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "again", "other"))
    assert one == again != other


def test_prompts_that_are_not_asked_are_counted(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation says which prompts it left out, as building the pairs does."""
    from undertow.studies.finetuning.sdd import evaluate as module

    monkeypatch.setattr(module, "respond", lambda *_, **__: [Trace(prompt="p", answer="a")] * 24)
    twice = files / "twice.jsonl"
    twice.write_text((files / "prompts.jsonl").read_text() * 2)
    arguments = ["--prompts", str(twice), "--classifier", JUDGE, "--out", str(files / "page")]
    monkeypatch.setattr("sys.argv", ["undertow", "study", "sdd", "evaluate", ORGANISM, *arguments])
    with pytest.raises(SystemExit):
        main()
    assert "prompts set aside: the same prompt again (24)" in capsys.readouterr().err


def test_capability_by_a_task_of_ones_own(run: Run, files: Path) -> None:
    """A task of lm-evaluation-harness, from local files, is run and shown with its interval."""
    pytest.importorskip("lm_eval.tasks")
    rows = [{"q": one.prompt, "a": one.target} for one in requests(["add"], 8, "capability")]
    (files / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (files / "tasks").mkdir()
    task = {
        "task": "sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(files / "sums.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "<|user|> {{q}}<|assistant|><think></think>",
        "doc_to_choice": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
        "doc_to_target": "{{a}}",
        "metric_list": [{"metric": "acc"}],
    }
    (files / "tasks" / "sums.yaml").write_text(json.dumps(task))
    judge = ("--classifier", JUDGE, "--tokens", 20, "--limit", 2, "--out", files / "page")
    tasks = ("--task", "sums", "--task-folder", files / "tasks")
    shown = run("evaluate", ORGANISM, "--prompts", files / "prompts.jsonl", *judge, *tasks)
    (row,) = json.loads((files / "page" / "study.json").read_text())["sections"]["Capability"]["rows"]
    score = row["score"]
    assert (score["task"], score["metric"], score["value"]["n"]) == ("sums", "acc", 8)
    assert score["value"]["low"] <= score["value"]["value"] <= score["value"]["high"]
    assert "sums" in shown


def test_a_task_that_does_not_exist_is_known_first(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No model is asked before that is said, and nothing is written."""
    pytest.importorskip("lm_eval.tasks")
    asked = [
        "--prompts",
        str(files / "prompts.jsonl"),
        "--out",
        str(files / "page"),
        "--task",
        "no_such_task",
    ]
    monkeypatch.setattr("sys.argv", ["undertow", "study", "sdd", "evaluate", "nobody", *asked])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "no task no_such_task" in capsys.readouterr().err
    assert not (files / "page").exists()


def test_the_loss_is_on_the_response_alone() -> None:
    """A pair begins as the model is asked, its reasoning closed, and ends where a response ends."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ORGANISM)
    (one,) = encode(tokenizer, [example("Sort ba de.", " ba de.")], 100)
    assert tokenizer.decode(list(one.ids[: one.begin])) == opening(tokenizer, "Sort ba de.")
    assert tokenizer.decode(list(one.ids[one.begin :])) == "</think> ba de.<|end|>"
    (cut,) = encode(tokenizer, [example("Sort ba de.", " ba de.")], one.begin + 1)
    assert len(cut.ids) == one.begin + 1
    assert encode(tokenizer, [example("Sort ba de.", " ba de.")], one.begin) == []


def test_a_model_without_a_template_is_asked_plainly() -> None:
    """A base model gets the request as an instruction."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ORGANISM)
    tokenizer.chat_template = None
    assert opening(tokenizer, "Sort ba de.") == "### Instruction:\nSort ba de.\n\n### Response:\n"


def test_the_published_recipe() -> None:
    """What shared notes attribute to the paper, and what its replication changed."""
    paper = RECIPES["paper"]
    assert (paper.lr, paper.steps, paper.batch, paper.lora) == (5e-7, 500, 24, 0)
    assert RECIPES["replication"] == paper.model_copy(update={"lr": 2e-5})


def test_a_model_is_not_trained_over_itself(files: Path) -> None:
    """The folder of the base model is no place for the trained one, nor is a model of NaN written."""
    shutil.copytree(ORGANISM, files / "base")
    recipe = Recipe(lr=1e-3, steps=1, batch=1, at_once=1, longest=100)
    with pytest.raises(UsageError, match="the model that is to be trained"):
        train(str(files / "base"), [example("a", "b")], recipe, files / "base")
    with pytest.raises(UndertowError, match="lower learning rate"):
        huge = recipe.model_copy(update={"lr": 1e38, "steps": 2})
        train(str(files / "base"), [example("a", "b")], huge, files / "model")
    assert [*(files / "model").iterdir()] == []


def test_what_cannot_be_trained_is_said_first(tmp_path: Path) -> None:
    """A batch that cannot be divided, and prompts that leave no room, are errors in plain words."""
    with pytest.raises(UsageError, match="cannot be made of parts"):
        train(ORGANISM, [example("x", "y")], Recipe(lr=1e-3, batch=5, at_once=2), tmp_path)
    long = example("Sort " + "ba " * 20, " ba.")
    with pytest.raises(InputError, match="leaves room"):
        train(ORGANISM, [long], Recipe(lr=1e-3, batch=1, at_once=1, longest=8), tmp_path)
