"""A file is replaced at once and whole, or left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from undertow.monitor.replacing import replacing


@pytest.mark.parametrize("old", ["the old one", None], ids=["there", "new"])
@pytest.mark.parametrize("name", ["left.part", None], ids=["named", "unnamed"])
def test_a_file_appears_whole(tmp_path: Path, old: str | None, name: str | None) -> None:
    """Until all is written the old one stands; then only the new one does, and nothing beside it."""
    path, beside = tmp_path / "file", tmp_path / name if name else None
    if old:
        path.write_text(old)
    if beside:
        beside.write_text("what a killed run left, which is longer")
    with replacing(path, beside) as place:
        place.write_text("the new one")
        assert (path.read_text() if path.exists() else None) == old
    assert path.read_text() == "the new one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("written", ["half of", None], ids=["half", "nothing"])
def test_a_failure_leaves_what_stood_there(tmp_path: Path, written: str | None) -> None:
    """The error is the writer's own, and nothing is left beside."""
    path = tmp_path / "file"
    path.write_text("the old one")
    with pytest.raises(RuntimeError, match="zorp"), replacing(path) as place:
        if written:
            place.write_text(written)
        raise RuntimeError("zorp")
    assert path.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [path]
