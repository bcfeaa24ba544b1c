"""Resolve the name of the torch device that a classifier is to run on."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import MissingExtra, UsageError, first_line

__all__ = ["device_named", "must_have"]

NEEDED = ("onnx", "torch", "transformers")


def device_named(name: str | None) -> str | None:
    """Return the torch device for a name; None to run on onnxruntime, as classifiers do by default.

    Args:
        name: "cpu", "cuda", "cuda:1" or another device that torch knows; "auto" for a GPU if there is
            one and the packages it needs are installed, else None; None for no device.

    Raises:
        UsageError: if this machine has no such device.
        MissingExtra: if torch, transformers or onnx is not installed.
    """
    if name is None:
        return None
    if any(find_spec(package) is None for package in NEEDED):
        if name == "auto":
            return None
        raise MissingExtra(f"running a classifier on {name}", "gpu")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else None
    must_have(name)
    return name


def must_have(name: str) -> None:
    """Raise a UsageError if this machine does not have the named torch device."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            f"cannot use the device {name!r}: {first_line(error)}; choose another, such as cpu"
        ) from error
