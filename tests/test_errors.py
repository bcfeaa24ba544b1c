"""What the package's errors say of the errors of others: one line."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from undertow.errors import first_line


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("  one\nand two"), "one"),
        (ValueError(), "ValueError"),
        (ValueError(" \n "), "ValueError"),
        (KeyError("layer"), "'layer' is missing"),
    ],
    ids=["two lines", "no message", "blank", "a key"],
)
def test_the_first_line_of_an_error(error: Exception, said: str) -> None:
    """It is never empty, and says that a key is missing, not only which."""
    assert first_line(error) == said


def test_an_error_of_pydantic() -> None:
    """It names the field, and quotes no input, which may be text of a trace."""

    class Form(BaseModel):
        size: int

    with pytest.raises(ValidationError) as error:
        Form.model_validate({"size": "SECRET"})
    said = first_line(error.value)
    assert said.startswith("size: ")
    assert "SECRET" not in said and "\n" not in said
