"""Numbers in words."""

from __future__ import annotations

import pytest

from undertow.monitor.many import percent


@pytest.mark.parametrize(
    ("share", "said"), [(1e-6, "less than 0.1%"), (0.0006, "0.1%"), (0.123, "12.3%"), (1.0, "100.0%")]
)
def test_a_share_of_something_is_not_shown_as_nothing(share: float, said: str) -> None:
    """One that rounds to 0.0% is named as what it is."""
    assert percent(share) == said
