"""Guards: language models that were trained to judge, asked with the prompts of their training.

There is one file for each family, with the prompt that it was trained on and the parser of its answers.
`local` runs a guard on this machine and reads probabilities from its logits; `served` asks one on an
OpenAI-compatible server. A step whose answer cannot be parsed is not judged.
"""

from __future__ import annotations

from .families import FAMILIES, family_of
from .family import Chat, Family, Spoken

__all__ = ["FAMILIES", "Chat", "Family", "Spoken", "family_of"]
