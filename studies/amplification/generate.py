"""Make the calls that a planned study needs. `undertow study plan` writes this file out for you.

    pip install 'undertow[openai]'
    python generate.py plan.json prompts.jsonl out.jsonl --base-url URL --model base=A --model fine-tuned=B

The key, where the server wants one, is read from OPENAI_API_KEY.

`prompts.jsonl` is yours: a row a request, with `id` and `prompt`, and whatever else you want to
keep of it (such as `kind`, for harmless requests). Each cell of the plan becomes one row of
`out.jsonl`, whose fields the design names. A run that was interrupted goes on where it
stopped, with the same models, requests and settings. Keep what is generated to yourself: it may
hold harmful text.

Every call goes through `undertow.wrap`. It changes nothing of what is written; each row keeps
its verdict, on the whole response, under `undertow`.

The arms differ in how the reasoning begins, so the server must go on from a message that the
assistant has begun (vLLM and SGLang do, by `continue_final_message`), and it must not split the
reasoning off. `plan.json` holds the texts under `modes`; change them to the tags of your model:

- on       the model reasons as it does by itself
- zero     the reasoning is opened and closed at once
- less     a short reasoning is put in its place
- more     each time the reasoning ends, it is made to go on, `again` times
- filler   the `on` reasoning of the same cell is replaced by as many words that say nothing
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ...monitor.monitor import Monitor
from ...monitor.wraps import wrap

__all__ = ["Complete", "cells", "generate", "main"]

Row: TypeAlias = dict[str, Any]

Complete: TypeAlias = Callable[[str, str, str, int], tuple[str, Row]]
"""Maps model, request, the beginning of the response, and seed to the text that the model adds, and to the
verdict on the whole response.
"""


def cells(plan: Mapping[str, Any], prompts: Sequence[Row]) -> Iterator[Row]:
    """Yield the cells to fill; `on` comes before the arm that takes its length from it."""
    order = sorted(plan["cells"]["modes"], key=lambda mode: mode != "on")
    for prompt in prompts:
        for state in plan["cells"]["states"]:
            for seed in range(plan["cells"]["seeds"]):
                for sample in range(plan["cells"]["samples"]):
                    for mode in order:
                        arm = {"mode": mode, "state": state, "seed": seed, "sample": sample}
                        yield {**prompt, "prompt_id": prompt["id"], **arm}


def generate(
    plan: Mapping[str, Any],
    prompts: Sequence[Row],
    done: Sequence[Row],
    models: Mapping[str, str],
    complete: Complete,
) -> Iterator[Row]:
    """Yield a row for each cell that is not yet done."""
    texts = {_key(row): row["response"] for row in done}
    for cell in cells(plan, prompts):
        key = _key(cell)
        if key in texts:
            continue
        setting, model, request = plan["modes"][cell["mode"]], models[cell["state"]], cell["prompt"]
        begin = setting.get("begin", "")
        if "filler" in setting:
            begin = _filler(setting, texts[_key({**cell, "mode": "on"})])
        seed = cell["seed"] * 1_000_003 + cell["sample"]
        written, verdict = complete(model, request, begin, seed)
        text = begin + written
        for _ in range(setting.get("again", 0)):
            head, closed, _rest = text.partition(setting["close"])
            if not closed:
                break
            begin = setting["open"] + head.removeprefix(setting["open"]).rstrip() + setting["word"]
            written, verdict = complete(model, request, begin, seed)
            text = begin + written
        texts[key] = text
        made = {"model": model, "settings": _settings(plan, cell), "response": text, "undertow": verdict}
        yield {**cell, "id": ":".join(key), **made}


def _settings(plan: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    """Return how the response in a cell is produced."""
    return {**plan.get("sampling", {}), **plan["modes"].get(row["mode"], {})}


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in ("prompt_id", "state", "mode", "seed", "sample"))


def _filler(setting: Mapping[str, Any], on: str) -> str:
    """Return a filler reasoning with as many words as the `on` arm's."""
    reasoning = on.partition(setting["close"])[0].removeprefix(setting["open"])
    words = " ".join([setting["filler"]] * len(reasoning.split()))
    return f"{setting['open']}{words}{setting['close']}\n\n"


def _client(base_url: str, key: str, sampling: Mapping[str, Any], monitor: Monitor) -> Complete:
    from openai import OpenAI

    client = wrap(OpenAI(base_url=base_url, api_key=key), monitor=monitor)

    def complete(model: str, request: str, begin: str, seed: int) -> tuple[str, Row]:
        messages: list[Any] = [{"role": "user", "content": request}]
        extra: dict[str, Any] = {}
        if begin:
            messages.append({"role": "assistant", "content": begin})
            extra = {"continue_final_message": True, "add_generation_prompt": False}
        answer = client.chat.completions.create(
            model=model, messages=messages, seed=seed, extra_body=extra, **sampling
        )
        message = answer.choices[0].message
        if getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None):
            raise SystemExit("the server splits off the reasoning: start it without a reasoning parser")
        written, verdict = message.content or "", answer.undertow
        if begin:  # the call judged only the end of the response
            with monitor.open(prompt=request, model=model) as session:
                session.feed(begin + written)
            verdict = session.verdict
        return written, verdict.model_dump(mode="json", by_alias=True)

    return complete


def main() -> None:
    """Read the plan, make the calls, and write each row as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", action="append", required=True, metavar="STATE=NAME")
    asked = parser.parse_args()
    plan = json.loads(asked.plan.read_text(encoding="utf-8"))
    models = dict(pair.split("=", 1) for pair in asked.model)
    if missing := sorted(set(plan["cells"]["states"]) - set(models)):
        parser.error(f"no --model for {', '.join(missing)}")
    prompts = _rows(asked.prompts)
    if problem := _problem(prompts):
        parser.error(f"{asked.prompts}: {problem}")
    done = _done(asked.out) if asked.out.exists() else []
    if other := _of_another_run(plan, prompts, done, models):
        parser.error(f"{asked.out} holds responses {other}: give another file")
    monitor = Monitor()
    complete = _client(asked.base_url, os.environ.get("OPENAI_API_KEY", "none"), plan["sampling"], monitor)
    with asked.out.open("a", encoding="utf-8") as file:
        for row in generate(plan, prompts, done, models, complete):
            print(json.dumps(row), file=file, flush=True)


def _problem(prompts: Sequence[Row]) -> str | None:
    """Return why a request cannot have cells of its own; None if all requests can."""
    seen: set[str] = set()
    for number, row in enumerate(prompts, 1):
        if not {"id", "prompt"} <= set(row):
            return f"request {number} lacks `id` or `prompt`"
        if str(row["id"]) in seen:
            return f"two requests have the id {row['id']!r}: one of them would get no response"
        seen.add(str(row["id"]))
    return None


def _of_another_run(
    plan: Mapping[str, Any], prompts: Sequence[Row], done: Sequence[Row], models: Mapping[str, str]
) -> str | None:
    """Return how the responses that are there differ from those to come; None if they can stand together."""
    texts = {str(row["id"]): row["prompt"] for row in prompts}
    for row in done:
        if row["model"] != models.get(row["state"], row["model"]):
            return f"of another model, {row['model']!r} for {row['state']}"
        if row["prompt"] != texts.get(str(row["prompt_id"]), row["prompt"]):
            return f"to another request with the id {row['prompt_id']!r}"
        if row["mode"] in plan["modes"] and row.get("settings") != _settings(plan, row):
            return f"of another plan, with other settings for {row['mode']}"
    return None


def _done(path: Path) -> list[Row]:
    """Return the rows already generated; a half-written last row is cut off, to be generated again."""
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)
    return _rows(path)


def _rows(path: Path) -> list[Row]:
    # Not `splitlines`: it also splits at characters that JSON allows within a text, such as U+2028.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    main()
