"""Samples that lm-evaluation-harness itself made and saved, with their reasoning and without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from undertow.monitor.audit import read
from undertow.monitor.trace import Trace

RUN = '''
import json, sys
from pathlib import Path

from lm_eval import evaluator
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.loggers import EvaluationTracker
from lm_eval.models.utils import postprocess_generated_text


@register_model("scripted")
class Scripted(LM):
    """Always says the same, and has it cut as the harness's own models do."""

    def __init__(self, pretrained, think_end_token=None, **_):
        super().__init__()
        self.end = think_end_token

    def generate_until(self, requests, **_):
        said = "<think>It is simple.</think>Four."
        return [postprocess_generated_text(said, stop=None, think_end_token=self.end) for _ in requests]

    def loglikelihood(self, requests, **_):
        raise AssertionError("nothing but text is asked for")

    loglikelihood_rolling = loglikelihood


evaluator.add_env_info = lambda results: None  # it asks pip for all that is installed: seconds
docs = Path("docs.jsonl")
docs.write_text(json.dumps({"question": "How many?", "answer": "Four."}) + "\\n")
task = {
    "task": "zorps", "test_split": "test", "output_type": "generate_until",
    "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(docs)}},
    "doc_to_text": "{{question}}", "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\\n\\n"]}, "metric_list": [{"metric": "exact_match"}],
}
for folder, arguments in (("whole", "pretrained=m"), ("cut", "pretrained=m,think_end_token=</think>")):
    tracker = EvaluationTracker(output_path=folder)
    found = evaluator.simple_evaluate(
        model="scripted", model_args=arguments, tasks=[task], log_samples=True, bootstrap_iters=0,
        evaluation_tracker=tracker,
    )
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for name, own in samples.items():
        tracker.save_results_samples(task_name=name, samples=own)
'''


def test_what_the_harness_saved(tmp_path: Path) -> None:
    """The folder that it wrote is read; where `think_end_token` cut the reasoning off, that is said."""
    pytest.importorskip("lm_eval")
    pytest.importorskip("datasets")
    offline = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        check=False,
        cwd=tmp_path,
        env=os.environ | offline,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    (whole,), (cut,) = (list(read(tmp_path / folder / "m")) for folder in ("whole", "cut"))
    for found in (whole, cut):
        assert isinstance(found, Trace)
        assert (found.origin.format, found.id, found.model) == ("lm-eval", "0", "m")
        assert (found.prompt, found.answer) == ("How many?", "Four.")
    assert isinstance(whole, Trace) and isinstance(cut, Trace)
    assert (whole.reasoning, whole.caveat) == ("It is simple.", None)
    assert cut.reasoning is None
    assert cut.caveat is not None and cut.caveat.reason == "reasoning_stripped"
