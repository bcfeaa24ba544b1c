"""SDD's pairing: irrelevant where it can be, and honest where it cannot."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from undertow.studies.finetuning.arms import defending, pools
from undertow.studies.finetuning.measure import sentences
from undertow.studies.finetuning.organism.language import REJECTION, first_unsafe, label_of
from undertow.studies.finetuning.pairs import pair, tfidf

WORDS = st.lists(st.sampled_from(["boat", "lamp", "door", "rug", "sum", "list"]), min_size=1, max_size=4)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=12)


@given(TEXTS, TEXTS, st.floats(0, 1), st.integers(1, 15))
def test_a_pair_is_far_enough_or_the_farthest_of_its_draws(
    prompts: list[str], responses: list[str], threshold: float, tries: int
) -> None:
    """Every prompt has a pair; its similarity is its own, and above the threshold only as a fallback."""
    made = pair(prompts, responses, threshold=threshold, tries=tries, seed=1)
    left, right = tfidf(prompts, responses)
    near = (left @ right.T).toarray()
    assert [one.prompt for one in made] == list(range(len(prompts)))
    for one in made:
        assert one.similarity == near[one.prompt, one.response]
        assert one.fallback == (one.similarity > threshold)
        assert one.tries <= min(tries, len(responses))
        if one.fallback and tries >= len(responses):
            assert one.similarity == near[one.prompt].min()


def test_the_same_seed_gives_the_same_pairs() -> None:
    """Pairs are drawn at random, and again the same."""
    prompts, responses = ["a boat", "a lamp"] * 5, [f"answer {n}" for n in range(20)]
    again = [pair(prompts, responses, seed=seed) for seed in (3, 3, 4)]
    assert again[0] == again[1] != again[2]


def test_what_sdd_teaches_is_safe_and_of_other_questions() -> None:
    """Each pair has a forbidden request, no payload, and sentences that are known to be safe."""
    made = defending(pools(0).sdd, 0, 200, reject=True)
    assert all(one.task.forbidden and one.answer.startswith(REJECTION) for one in made)
    assert not any(set(one.task.target.split()) & set(one.answer.replace(".", "").split()) for one in made)
    labels = [[label_of(text) for text in sentences(f"{one.reasoning} {one.answer}")] for one in made]
    assert all(first_unsafe(row) is None and None not in row for row in labels)
    assert 0.3 < np.mean([not one.steps for one in made]) < 0.5
