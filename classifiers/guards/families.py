"""The known families of guards, and the family that a model belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from ...errors import UsageError
from .family import Family
from .granite_guardian import GRANITE_GUARDIAN_3, GRANITE_GUARDIAN_3_3, GRANITE_GUARDIAN_4
from .guardreasoner import GUARDREASONER
from .judge import JUDGE
from .llama_guard import LLAMA_GUARD_3, LLAMA_GUARD_3_1B, LLAMA_GUARD_4
from .qwen3guard import QWEN3GUARD
from .reasoningshield import REASONINGSHIELD
from .shieldgemma import SHIELDGEMMA
from .wildguard import WILDGUARD

__all__ = ["FAMILIES", "family_of"]

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            LLAMA_GUARD_3_1B,
            LLAMA_GUARD_3,
            LLAMA_GUARD_4,
            QWEN3GUARD,
            SHIELDGEMMA,
            WILDGUARD,
            GRANITE_GUARDIAN_3,
            GRANITE_GUARDIAN_3_3,
            GRANITE_GUARDIAN_4,
            REASONINGSHIELD,
            GUARDREASONER,
            JUDGE,
        )
    }
)
"""The families by name; if several match the name of a model, the first one counts."""


def family_of(model: str, family: str | None = None) -> Family:
    """Return the family of a model: the one that is given, or the first that matches the model's name.

    Raises:
        UsageError: if there is no such family, or none matches.
    """
    if family is not None:
        if family not in FAMILIES:
            raise UsageError(f"unknown guard family {family!r}; known: {', '.join(FAMILIES)}")
        return FAMILIES[family]
    for known in FAMILIES.values():
        if re.search(known.models, model, re.IGNORECASE):
            return known
    raise UsageError(
        f"cannot tell the family of the guard {model!r} from its name; add it as guard:{model}?family=NAME, "
        f"where NAME is one of {', '.join(FAMILIES)}"
    )
