"""On a real local cluster the verdicts are those of one process, and a worker that is killed loses none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertow.errors import UsageError
from undertow.monitor.audit import audit
from undertow.monitor.audit.compare import compare
from undertow.monitor.audit.verdicts import read_verdicts
from undertow.testing import scripted_monitor

Jsonl = Callable[..., Path]

DEADLY = '''
import os
from pathlib import Path
from undertow.testing import ScriptedClassifier

class Deadly(ScriptedClassifier):
    """Kills its process with SIGKILL the first time that it reads one word, and always at another."""

    def predict_proba(self, steps, /):
        mark = Path(os.environ["MARK"])
        if any("Poison." in step.text for step in steps):
            os.kill(os.getpid(), 9)
        if not mark.exists() and any("Number 470." in step.text for step in steps):
            mark.touch()
            os.kill(os.getpid(), 9)
        return super().predict_proba(steps)
'''
RUN = """
import sys
from pathlib import Path
import ray
from deadly import Deadly
from undertow.errors import UndertowError
from undertow.monitor.audit import audit, distributed
from undertow.testing import scripted_monitor
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
distributed._BLOCK = 20_000
result = audit(sys.argv[1:3], monitor=scripted_monitor(Deadly()), out=sys.argv[3], engine="ray", workers=2)
Path(sys.argv[4]).write_text(result.model_dump_json(by_alias=True))
distributed._AGAIN = 0
try:
    audit(sys.argv[5], monitor=scripted_monitor(Deadly()), out=sys.argv[3] + "2", engine="ray", workers=1)
except UndertowError as error:
    Path(sys.argv[6]).write_text(str(error))
"""


def test_a_cluster_loses_nothing(jsonl: Jsonl, tmp_path: Path) -> None:
    """Two actors, one of them killed in mid-run: each record has its verdict once, the same as local.

    A record that kills every worker that reads it ends the run with an error.
    """
    pytest.importorskip("ray")
    rows = [{"prompt": "P", "reasoning": f"Number {n}. [drift] So. {'Word. ' * 30}"} for n in range(600)]
    paths = [jsonl(*rows), jsonl({"reasoning": "Fine."}, b"{", name="u.jsonl")]
    expected = audit(paths, monitor=scripted_monitor(), out=tmp_path / "local.jsonl")
    (tmp_path / "deadly.py").write_text(DEADLY)
    mark, out = tmp_path / "mark", tmp_path / "v.parquet"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "MARK": str(mark),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    said, poison = tmp_path / "said.json", tmp_path / "poison.txt"  # standard output is Ray's as well
    deadly = jsonl({"reasoning": "Poison."}, name="deadly.jsonl")
    command = [sys.executable, "-c", RUN, *map(str, [*paths, out, said, deadly, poison])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert mark.exists()
    figures = json.loads(said.read_text(encoding="utf-8"))
    assert figures == json.loads(expected.model_dump_json(by_alias=True))

    def lines(path: Path) -> list[str]:
        return sorted(verdict.model_dump_json() for verdict in read_verdicts(path))

    assert lines(out) == lines(tmp_path / "local.jsonl")
    assert poison.read_text().startswith("workers died on the same records (tried 1 times)")
    assert not (tmp_path / ".v.parquet.part").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"name it with out \(--out DIR\)"),
        ({"out": "v", "resume": True}, "the engine ray has no resume"),
        ({"out": "v", "each": print}, "the engine ray has no each"),
        ({"out": "v", "report": "r.html"}, "make it afterwards with `undertow report v`"),
        ({"out": "."}, "already exists, and the engine ray writes a new folder"),
    ],
    ids=["no out", "resume", "each", "report", "a folder that exists"],
)
def test_what_a_cluster_does_not_do(jsonl: Jsonl, options: Any, message: str) -> None:
    """Without a place for the verdicts, and with what needs their order, the run is refused at once."""
    with pytest.raises(UsageError, match=message):
        audit(jsonl({"reasoning": "Fine."}), monitor=scripted_monitor(), engine="ray", **options)


def test_a_cluster_compares_nothing(jsonl: Jsonl) -> None:
    """The comparison is refused before anything is judged."""
    path = jsonl({"reasoning": "Fine."})
    with pytest.raises(UsageError, match="only the engine local compares"):
        compare(path, path, monitor=scripted_monitor(), engine="ray", out="v")
