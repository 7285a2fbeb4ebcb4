"""What repairs need from outside."""

from __future__ import annotations

from typing import NamedTuple

from interlock.core.desk.bulk.model import LEASE
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.documents import Documents
from interlock.core.payments.ports import Payments
from interlock.core.webhooks.ports import Webhooks


class Repairs(NamedTuple):
    """The means of every handler here."""

    payments: Payments
    webhooks: Webhooks
    documents: Documents
    lease: Millis = LEASE
    """So long after a crash somebody else goes on."""
