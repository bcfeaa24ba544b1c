"""`undertow formats`: list the supported transcript formats."""

from __future__ import annotations

__all__ = ["formats"]


def formats() -> None:
    """List the formats that `undertow audit` knows, and the fields that it reads."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..monitor.audit.readers import all_readers

    console = Console(highlight=False)
    for reader in all_readers():
        console.print(Text.assemble((reader.name, "bold"), f"  {reader.description}"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column()
        for part, names in reader.fields.items():
            grid.add_row(f"  {part}", Text(", ".join(names)))
        console.print(grid, "")
