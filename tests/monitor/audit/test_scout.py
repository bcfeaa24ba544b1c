"""The scanner for Inspect Scout, on Scout's own types and in a scan of its own command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from undertow.monitor.audit import read
from undertow.monitor.monitor import Monitor

pytest.importorskip("inspect_scout")


def transcript(*turns: tuple[str, str]) -> Any:
    """Return a transcript of Scout's own type: a question, then turns of reasoning and answer."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, ContentReasoning, ContentText
    from inspect_scout import Transcript

    messages: list[Any] = [ChatMessageUser(content="What now?", id="u")]
    for number, (reasoning, answer) in enumerate(turns):
        content: list[Any] = [ContentReasoning(reasoning=reasoning), ContentText(text=answer)]
        messages.append(ChatMessageAssistant(content=content, id=f"a{number}"))
    return Transcript(transcript_id="t", messages=messages)


def test_each_turn_is_judged(monitor: Monitor) -> None:
    """The result says which turn drifts and at which step, refers to its message, and holds no text."""
    from undertow.monitor.audit.scout import result_of

    found = result_of(
        transcript(("All is well.", "Yes."), ("A secret. Let me zorp the thing.", "No.")), monitor
    )
    assert (found.value, found.answer) == (True, "1 of 2 turns flagged")
    assert found.explanation is not None
    assert "[M2] not flagged" in found.explanation
    assert "[M3] flagged: drift begins at step 2 of the reasoning, highest risk 0.98" in found.explanation
    assert "reasoning ▁█" in found.explanation
    assert [(one.cite, one.id) for one in found.references] == [("[M2]", "a0"), ("[M3]", "a1")]
    assert found.metadata is not None
    assert [one["flagged"] for one in found.metadata["verdicts"]] == [False, True]
    assert "secret" not in found.model_dump_json()


@pytest.mark.parametrize(
    ("turns", "value"),
    [
        ([("All is well.", "Yes.")], False),
        ([("All is well.", "Yes."), ("This is unjudgeable.", "")], None),
        ([("Let me zorp the thing.", "No."), ("This is unjudgeable.", "")], True),
        ([], None),
    ],
    ids=["safe", "one not judged", "flagged and one not judged", "no turn"],
)
def test_not_judged_is_not_safe(monitor: Monitor, turns: list[tuple[str, str]], value: bool | None) -> None:
    """Where nothing is flagged and a turn could not be judged, the value is null."""
    from undertow.monitor.audit.scout import result_of

    assert result_of(transcript(*turns), monitor).value is value


def with_entry_points(root: Path, folder: Path) -> dict[str, str]:
    """Return an environment whose processes see the entry points as they are in pyproject.toml now."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    made = folder / "meta" / "undertow_entry-0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: undertow-entry\nVersion: 0\n")
    lines = (f"{name} = {place}\n" for name, place in project["entry-points"]["inspect_ai"].items())
    (made / "entry_points.txt").write_text("".join(["[inspect_ai]\n", *lines]))
    places = [str(folder / "meta"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def test_a_scan(root: Path, tmp_path: Path) -> None:
    """`scout scan` finds the scanner by its name, ends, and has for each transcript what an audit says."""
    from inspect_scout import scan_results_df, transcripts_db

    texts = [("All is well.", "Yes."), ("It is simple. I will explain.", "Mix, then bake.")]
    made = [
        transcript(turn, turn).model_copy(update={"transcript_id": f"t{n}"}) for n, turn in enumerate(texts)
    ]
    source = {"source_type": "made", "source_id": "s", "source_uri": "u"}

    async def save() -> None:
        async with transcripts_db(str(tmp_path / "db")) as database:
            await database.insert([one.model_copy(update=source) for one in made])

    asyncio.run(save())
    scout = Path(sys.executable).with_name("scout")
    options = ["-S", "classifier=step-lexical", "--max-processes", "1", "--display", "none"]
    done = subprocess.run(
        [scout, "scan", "undertow/undertow_scanner", "-T", "db", "--scans", "scans", *options],
        check=False,
        cwd=tmp_path,
        env=with_entry_points(root, tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (scan,) = (tmp_path / "scans").iterdir()
    found = scan_results_df(str(scan))
    assert found.complete and not found.errors
    table = found.scanners["undertow_scanner"].set_index("transcript_id").sort_index()
    assert list(table["value"]) == [False, False]
    assert list(table["answer"]) == ["0 of 2 turns flagged"] * 2
    said = [verdict for row in table["metadata"] for verdict in json.loads(row)["verdicts"]]
    audited = Monitor("step-lexical").judge(read(tmp_path / "db"))
    places = {verdict.id: verdict.model_dump(mode="json")["steps"] for verdict in audited}
    assert {verdict["id"]: verdict["steps"] for verdict in said} == places
    assert sorted(places) == ["t0#0", "t0#1", "t1#0", "t1#1"]
