"""Read samples of lm-evaluation-harness (`samples_*.jsonl`), and detect whether reasoning was removed.

With `think_end_token`, the harness removes all text up to that token before it saves a sample. The
sample does not show this, so the setting is read from `results_*.json` of the same run, beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from ...profiles import profile_for
from ...trace import NotAssessed, Origin, Trace, Unreadable
from ..files import json_within
from .calls import question
from .channels import assemble
from .contract import JsonObject, WrongType, name_of

__all__ = ["LmEvalReader"]

_SAMPLES = re.compile(r"samples_.+_(\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")
_LIMIT = 64 * 2**20
_CUT = "the run was made with think_end_token, which removes the reasoning before it is saved"
_REASONS = "the model reasons before it answers, and its reasoning is not in the log"


class LmEvalReader:
    """Reads the unfiltered replies to one document (`resps`)."""

    name = "lm-eval"
    description = "samples of lm-evaluation-harness; one trace per reply"
    fields: ClassVar[Mapping[str, Sequence[str]]] = {
        "reply": ("resps[][]",),
        "prompt": ("arguments.gen_args_0.arg_0",),
        "reasoning": ("tags in the text", "whether it was cut off: results_*.json beside the file"),
        "model": ("model_name of results_*.json",),
        "id": ("doc_id",),
    }

    def matches(self, row: JsonObject) -> bool:
        """Return whether the row has a document and replies to it."""
        return "resps" in row and ("doc" in row or "doc_id" in row)

    def read(self, row: JsonObject, origin: Origin) -> Iterator[Trace | Unreadable]:
        """Yield a record for each reply, or one `Unreadable` for a task that generates no text."""
        replies = row.get("resps")
        if not isinstance(replies, list):
            raise WrongType("resps", replies, "a list of replies")
        name = name_of(row, ("doc_id",), origin)
        texts = [text for reply in replies for text in (reply if isinstance(reply, list) else [reply])]
        if not texts or not all(isinstance(text, str) for text in texts):
            problem = NotAssessed(reason="no_text", detail="a log-likelihood task: no text was generated")
            yield Unreadable(id=name, origin=origin, problem=problem)
            return
        run = _run(origin.path or "")
        for turn, text in enumerate(texts):
            own = f"{name}#{turn}" if len(texts) > 1 else name
            yield _trace(row, str(text), run, origin.model_copy(update={"turn": turn}), own)


@dataclass(frozen=True, slots=True)
class _Run:
    """What is known about the run that produced a file of samples."""

    model: str | None = None
    cut: bool = False


def _trace(row: JsonObject, text: str, run: _Run, origin: Origin, name: str) -> Trace:
    prompt = _prompt(row.get("arguments"))
    channels = assemble([], text, prompt="" if run.cut else prompt, model=run.model)
    caveat = None
    if run.cut:
        caveat = NotAssessed(reason="reasoning_stripped", detail=_CUT)
    elif channels.reasoning is None and profile_for(run.model).channel == "reasoning":
        caveat = NotAssessed(reason="reasoning_stripped", detail=_REASONS)
    return Trace(
        id=name,
        prompt=prompt,
        reasoning=channels.reasoning,
        answer=channels.answer,
        model=run.model,
        reasoning_from=channels.reasoning_from,
        truncated=channels.truncated,
        caveat=caveat,
        origin=origin,
        metadata={key: row[key] for key in ("target", "filter") if key in row},
    )


def _prompt(arguments: object) -> str:
    """Return the request: the first argument of the first call, in either shape used by the harness."""
    first = next(iter(arguments.values() if isinstance(arguments, dict) else _list(arguments)), None)
    asked = first.get("arg_0") if isinstance(first, dict) else next(iter(_list(first)), None)
    asked = next(iter(asked), None) if isinstance(asked, list) and len(asked) == 1 else asked
    said = question(asked)
    return said if isinstance(said, str) else ""


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


@lru_cache(maxsize=64)
def _run(path: str) -> _Run:
    """Read the model and the `think_end_token` setting of a run from the results beside its samples."""
    file = Path(path)
    named = _SAMPLES.search(file.name)
    results = file.with_name(f"results_{named[1]}.json") if named else None
    try:
        if results is None or results.stat().st_size > _LIMIT:
            return _Run()
        saved = json_within(results.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return _Run()
    config = saved.get("config") if isinstance(saved, dict) else None
    args = config.get("model_args") if isinstance(config, dict) else None
    given = args.get("think_end_token") if isinstance(args, dict) else "think_end_token=" in str(args)
    model = saved.get("model_name") if isinstance(saved, dict) else None
    return _Run(model if isinstance(model, str) else None, cut=bool(given))
