"""`undertow classifiers`: list the available classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..classifiers.registry import ClassifierInfo

__all__ = ["classifiers"]


def classifiers() -> None:
    """List the classifiers, with the digest shown in verdicts, and how to name other judges."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from ..classifiers.naming import FORMS
    from ..classifiers.registry import available

    table = Table(Column("name", overflow="fold"), "what it is", "weights", "digest")
    for info in available():
        table.add_row(*map(escape, (info.name, info.description, _weights(info), _digest(info))))
    forms = Table(Column("judges of others", no_wrap=True), "what it is")  # the form is there to be copied
    for form, meaning in FORMS.items():
        forms.add_row(escape(form), escape(meaning))
    Console().print(table, forms, sep="\n")


def _weights(info: ClassifierInfo) -> str:
    """Return the size of the weights, including those of members; a dash if it has no folder of its own."""
    from ..classifiers.ensemble import member_folder
    from ..classifiers.store import read_manifest
    from ..errors import WeightsError

    if info.folder is None:
        return "-"
    try:
        members = read_manifest(info.folder).settings.get("members") or ()
    except WeightsError:  # shown in place of the digest
        members = ()
    folders = [info.folder, *filter(None, (member_folder(info.folder, name) for name in members))]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB"


def _digest(info: ClassifierInfo) -> str:
    """Return the first 12 hex digits of the digest, or the error; code of other packages is not loaded."""
    from ..classifiers.registry import load_classifier
    from ..classifiers.store import read_manifest
    from ..errors import WeightsError

    if info.kind == "entry-point":
        return "-"
    try:
        full = read_manifest(info.folder).digest if info.folder else load_classifier(info.name).digest
    except WeightsError as error:
        return f"unusable: {error}"
    return full[: len("sha256:") + 12]
