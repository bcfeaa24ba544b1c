"""An OpenAI-compatible proxy with the monitor inside: `undertow serve`, or any ASGI server.

Any client, in any language, gets the monitor by changing its base URL.
"""

from __future__ import annotations

from ....errors import MissingExtra

try:
    import aiohttp as _aiohttp
    import httpx as _httpx
    import prometheus_client as _prometheus_client
    import starlette as _starlette
except ImportError as error:
    raise MissingExtra("the proxy", "serve") from error
else:
    del _aiohttp, _httpx, _prometheus_client, _starlette

from .app import create_app
from .limits import Limits

__all__ = ["Limits", "create_app"]
