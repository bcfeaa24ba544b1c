"""The entry point `undertow` of the group `inspect_ai`, which Inspect's commands load.

Through it, `scout scan undertow/undertow_scanner` and a resumed scan find the scanner. Inspect also loads
it in its own runs, where Scout is not needed and takes seconds to import. So the scanner is registered
only if Scout has already been imported.
"""

from __future__ import annotations

import sys

__all__: list[str] = []

if "inspect_scout" in sys.modules:
    from . import scout  # noqa: F401  (importing it registers the scanner)
