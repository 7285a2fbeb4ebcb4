"""What can be asked: the steps of the workflow `file_intake`, in their order."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.kernel.blobs import KEY_MAX

Tenant = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}\Z")]
InboxKey = Annotated[str, Meta(min_length=1, max_length=KEY_MAX)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class InspectFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    execution: str
    tenant: Tenant
    key: InboxKey
    size: int | None = None
    """In bytes, if whoever saw it arrive knows: then a file that is too large is never read."""


class Inspected(msgspec.Struct, frozen=True):
    """What is known of a file before it is let in."""

    name: str
    size: int
    sha256: Sha256 | None
    """None for what was too large to read."""
    verdict: str
    """`accepted`, or why not: a key of REFUSALS in `model.py`."""


class TakeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep it, put it into quarantine, or announce it."""

    execution: str
    """Whose work this is: a repetition of it finds its own traces."""
    tenant: Tenant
    key: InboxKey
    file: Inspected
