"""Makes what tests of this folder share importable: under importlib mode a neighbour is not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("gates", Path(__file__).with_name("gates.py"))
assert _SPEC
assert _SPEC.loader
sys.modules["gates"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["gates"])
