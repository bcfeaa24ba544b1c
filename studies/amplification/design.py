"""The design of a study: its arms, the fields of a record that name them, and what counts as harm.

A design is a small YAML file, written before the data are looked at:

    fields:                    # the field for each property; dots lead into objects
      prompt: prompt_id
      mode: arm
      state: checkpoint
      seed: seed
      sample: k
    values:                    # what the fields' values mean, if they are not the arms' own names
      mode: {thinking: on, no_thinking: zero}
      state: {original: base, attacked: fine-tuned}
    assume: {state: base}      # what no field contains, because all records share it
    files:                     # assumptions for the files whose names match
      "attacked-*.jsonl": {state: fine-tuned}
    harm:                      # without this, the monitor's verdict counts
      answer: {field: judge_score, at_least: 4, range: [1, 5]}
    harmless: {field: kind, equals: benign}     # the prompts of the negative control
    margin: 0.05               # the smallest difference in risk that would matter
    cells: {modes: [on, zero, less, more, filler], states: [base, fine-tuned], seeds: 3, samples: 1}
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from ...errors import InputError, UsageError
from ...monitor.trace import Frozen

__all__ = [
    "MODES",
    "STATES",
    "Assumed",
    "Cells",
    "Design",
    "Fields",
    "Label",
    "Match",
    "Mode",
    "State",
    "read_design",
    "same",
    "word",
]

Mode = Literal["on", "zero", "less", "more", "filler"]
"""The reasoning: as it comes, none, cut short, stretched, or replaced by filler of the same length."""

State = Literal["base", "fine-tuned"]

MODES: tuple[Mode, ...] = get_args(Mode)
STATES: tuple[State, ...] = get_args(State)

_SYNONYMS = {"true": "on", "yes": "on", "false": "off", "no": "off"}


def word(value: object) -> str:
    """Return a field's value as a word for comparison: YAML reads a bare `on` as true, and this undoes it."""
    text = str(value).strip().lower()
    return _SYNONYMS.get(text, text)


def same(value: object, wanted: object) -> bool:
    """Whether a value is the one wanted; 1, 1.0, "1", true and "yes" are the same, since formats differ."""
    if value is None:
        return False
    one, other = (_number({"on": 1, "off": 0}.get(word(each), word(each))) for each in (value, wanted))
    return word(value) == word(wanted) if one is None else one == other


def _mode(value: object) -> object:
    return "zero" if word(value) == "off" else word(value)


AnyMode: TypeAlias = Annotated[Mode, BeforeValidator(_mode)]
AnyState: TypeAlias = Annotated[State, BeforeValidator(word)]


def _words(values: object) -> object:
    return {word(key): value for key, value in values.items()} if isinstance(values, dict) else values


class Fields(Frozen):
    """The field for each property, looked up in the metadata, then among the trace's own parts."""

    prompt: str = "prompt"
    """The field by which the arms are matched: the same request must have the same value in all of them."""
    mode: str | None = None
    state: str | None = None
    seed: str | None = None
    sample: str | None = None


class Values(Frozen):
    """What the values of `mode` and `state` mean, if they are not the arms' own names."""

    mode: Annotated[dict[str, AnyMode], BeforeValidator(_words)] = Field(default_factory=dict)
    state: Annotated[dict[str, AnyState], BeforeValidator(_words)] = Field(default_factory=dict)


class Assumed(Frozen):
    """Properties that all records of a file, or of all files, share without a field for them."""

    mode: AnyMode | None = None
    state: AnyState | None = None
    seed: str | int | None = None


class Label(Frozen):
    """A label read from a field, instead of the monitor's verdict: yes or no, or a score.

    A list, such as the sentences that somebody marked, counts as its length, or as yes if it is not empty.
    """

    field: str
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    """The lowest score that is harm; without it, the field is yes or no, and any other score is no label."""
    range: tuple[float, float] | None = None
    """The lowest and the highest score; the severity is the score rescaled from this range to [0, 1].

    A score outside it, such as a judge's -1 for "no score", is no label.
    """

    @field_validator("range")
    @classmethod
    def _ascends(cls, ends: tuple[float, float] | None) -> tuple[float, float] | None:
        if ends is not None and not ends[0] < ends[1]:
            raise ValueError("the lowest score comes before the highest")
        return ends

    @model_validator(mode="after")
    def _can_be_reached(self) -> Label:
        if self.range and self.at_least is None:
            raise ValueError("a score with a range needs `at_least`, the lowest score that is harm")
        if self.range and self.at_least is not None and not self.range[0] <= self.at_least <= self.range[1]:
            raise ValueError("`at_least` lies outside the range: all scores would be on one side of it")
        return self

    def read(self, value: object) -> tuple[bool, float] | None:
        """Return whether a value is harm and how severe; None if it is no label."""
        listed = isinstance(value, list)
        if isinstance(value, list):
            value = len(value)
        if isinstance(value, str):
            value = {"on": 1, "off": 0}.get(word(value), value)
        score = _number(value)
        if score is None or (self.range and not self.range[0] <= score <= self.range[1]):
            return None
        if self.at_least is None and not listed and score not in (0, 1):
            return None
        harmful = score > 0 if self.at_least is None else score >= self.at_least
        low, high = self.range or (0.0, 1.0)
        return harmful, (score - low) / (high - low)


def _number(value: object) -> float | None:
    """Return a finite number, None for anything else."""
    if not isinstance(value, str | bool | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


class Labels(Frozen):
    """The labels by channel; a channel without one is judged by the monitor, if there is one."""

    reasoning: Label | None = None
    answer: Label | None = None


class Match(Frozen):
    """A field and the value that it must have."""

    field: str
    equals: str | int | float | bool


class Cells(Frozen):
    """The cells that the study is meant to fill."""

    modes: tuple[AnyMode, ...] = Field(default=("on", "zero"), min_length=1)
    states: tuple[AnyState, ...] = Field(default=STATES, min_length=1)
    seeds: int = Field(default=3, ge=1)
    samples: int = Field(default=1, ge=1)

    @field_validator("modes", "states")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("an arm is named twice, and would be planned twice")
        return names


class Design(Frozen):
    """A study's design; this module's docstring shows one as YAML."""

    fields: Fields = Fields()
    values: Values = Values()
    assume: Assumed = Assumed()
    files: dict[str, Assumed] = Field(default_factory=dict)
    """Assumptions by file name pattern, such as `attacked-*.jsonl`."""
    harm: Labels = Labels()
    gold: Labels = Labels()
    """More trusted labels for some of the records, from which the judge's errors are estimated."""
    harmless: Match | None = None
    margin: float = Field(default=0.05, gt=0, lt=1)
    """The smallest difference in risk that would matter, set beforehand; the verdict depends on it."""
    cells: Cells = Cells()


class _Once(yaml.SafeLoader):  # type: ignore[misc]  # yaml ships no types
    """Reads plain YAML, and refuses a name given twice, of which the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def read_design(path: Path | None) -> Design:
    """Read a design; without a file, return the default one, which takes everything from the records.

    Raises:
        InputError: The file cannot be read.
        UsageError: It is not YAML, or not a design.
    """
    if path is None:
        return Design()
    try:
        found: Any = _Once(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, Mapping):
        raise UsageError(f"{path} holds no design: its first level must be names, such as `fields:`")
    try:
        return Design.model_validate(found)
    except ValidationError as error:
        raise UsageError(f"{path} is not a design:\n{_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    return "\n".join(
        f"  {'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )
