"""Put the monitor around model calls: `wrap` chooses the module for the object it is given.

There is one module per ecosystem; each imports its library only when it is used.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from ...errors import UsageError
from ..monitor import Monitor
from ..policy import Policy, as_policy

__all__ = ["wrap"]

_WRAPS = {
    "anthropic": ".anthropic",
    "langchain_core": ".langchain",
    "litellm": ".litellm",
    "openai": ".openai",
    "transformers": ".transformers",
    "vllm": ".vllm",
}
"""The module that wraps each library's objects; it has `wrap_object(x, monitor, policy, **options)`."""


def wrap(x: Any, *, monitor: Monitor | None = None, policy: Policy | str = "observe", **options: Any) -> Any:
    """Put a monitor around an object that makes model calls.

    Args:
        x: a client, model or pipeline of a library in the table of docs/wrap.md.
        monitor: the monitor that judges; the default one is loaded if none is given.
        policy: what happens at the alarm; a `Policy`, or the name of its action.
        options: further options of that library's wrap.

    Returns:
        An object to use instead of `x`: the same calls, with verdicts.

    Raises:
        UsageError: no wrap supports such an object.
        MissingExtra: the wrap needs a library that is not installed.
    """
    home = next((_WRAPS[name] for name in _libraries(x) if name in _WRAPS), None)
    if home is None:
        raise UsageError(
            f"cannot wrap a {type(x).__module__}.{type(x).__qualname__}; wrap objects of "
            f"{', '.join(sorted(_WRAPS))}, and use undertow.Monitor.open for anything else"
        )
    chosen = as_policy(policy)
    return import_module(home, __name__).wrap_object(x, monitor or Monitor(), chosen, **options)


def _libraries(x: Any) -> list[str]:
    """Name the libraries that define an object's class and its base classes, in method resolution order."""
    if isinstance(x, ModuleType):
        return [x.__name__.partition(".")[0]]
    return [kind.__module__.partition(".")[0] for kind in type(x).__mro__]
