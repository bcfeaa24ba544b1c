"""Which device torch runs a classifier on, where one is asked for."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import MissingExtra, UsageError

__all__ = ["device_named"]

NEEDED = ("onnx", "torch", "transformers")


def device_named(name: str | None) -> str | None:
    """Return the device of torch that a name asks for; None for none, as everything ships.

    Args:
        name: "cpu", "cuda", "cuda:1" or what else torch knows; "auto" for a GPU where there is one and
            what is needed to use it is installed, else none; None for none.

    Raises:
        UsageError: there is no such device here.
        MissingExtra: torch, transformers or onnx is not installed.
    """
    if name is None:
        return None
    if any(find_spec(package) is None for package in NEEDED):
        if name == "auto":
            return None
        raise MissingExtra(f"a classifier on {name}", "gpu")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else None
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UsageError(
            f"no device {name!r} here: {reason}; leave it out, or name another, such as cpu"
        ) from error
    return name
