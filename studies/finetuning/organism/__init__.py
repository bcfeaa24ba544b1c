"""The model organism: a tiny model that reasons and is harmless."""

from __future__ import annotations

from importlib.util import find_spec

from ....errors import MissingExtra

__all__: list[str] = []

if any(find_spec(name) is None for name in ("torch", "transformers")):
    raise MissingExtra("the model organism", "transformers")
