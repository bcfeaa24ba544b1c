"""Study one: does a chain of thought amplify risk?

The command is `undertow study amplification`; docs/studies/amplification.md shows the results.
"""

from __future__ import annotations

from importlib.util import find_spec

from ...errors import MissingExtra

__all__: list[str] = []

if any(find_spec(name) is None for name in ("matplotlib", "statsmodels", "yaml")):
    raise MissingExtra("the study of amplification", "study")
