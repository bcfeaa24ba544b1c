"""What Inspect's commands load of undertow, by the entry point `undertow` of the group `inspect_ai`.

It is how `scout scan undertow/undertow_scanner` finds the scanner, and how a scan that broke off finds it
again. Inspect loads its entry points in every run of its own, too, where Scout is not wanted and takes
seconds to import; so nothing happens here unless Scout is there already.
"""

from __future__ import annotations

import sys

__all__: list[str] = []

if "inspect_scout" in sys.modules:
    from . import scout  # noqa: F401  (importing it registers the scanner)
