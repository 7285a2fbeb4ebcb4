"""What is asked of money at risk."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

REASON_MAX = 500


class ExplainFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX, pattern=r"^\s*\S[\s\S]*\Z")]
    """Why the provider says otherwise, and what was done about it."""
