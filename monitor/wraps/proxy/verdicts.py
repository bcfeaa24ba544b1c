"""The verdicts on a response in serialised form: for a body or an event, and for headers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ...verdict import TraceVerdict
from ..answers import chief
from .headers import FLAGGED, STATE, VERDICT, Headers

__all__ = ["Verdicts"]

_SHORT = ("assessed", "not_assessed", "flagged", "risk", "quadrant", "onset", "alarm", "recovered")


class Verdicts:
    """The verdicts on one response's choices."""

    def __init__(self, each: Mapping[int, TraceVerdict]) -> None:
        self._each = each
        flags = {verdict.flagged for verdict in each.values()}
        self.flagged: bool | None = True if True in flags else None if None in flags else False
        """True if a choice is flagged; None if none is, but one could not be judged."""
        bodies = (
            f'{{"choice":{choice},{verdict.model_dump_json(by_alias=True)[1:]}'
            for choice, verdict in sorted(each.items())
        )
        self.json = f'{{"flagged":{json.dumps(self.flagged)},"verdicts":[{",".join(bodies)}]}}'
        """The value of `undertow` in a body or in the last event of a stream."""

    @property
    def headers(self) -> Headers:
        """The response headers: whether something was flagged, and the most serious verdict in short form."""
        short = chief(self._each).model_dump(mode="json", include=set(_SHORT))
        flagged = {True: "true", False: "false", None: "unknown"}[self.flagged]
        values = {STATE: "judged", FLAGGED: flagged, VERDICT: json.dumps(short, separators=(",", ":"))}
        return [(name.encode(), value.encode()) for name, value in values.items()]
