"""The tables that queries see: columns, what they mean, and which of two rows of one thing holds.

All times are UTC. All amounts are whole minor units, in the currency that stands in the same row.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

Value = str | int | bool | None
Row = Mapping[str, Value]
"""Column -> value. A time is Millis."""


class Kind(StrEnum):
    TEXT = "text"
    WHOLE = "whole"
    TIME = "time"
    FLAG = "flag"


class Column(NamedTuple):
    name: str
    kind: Kind
    meaning: str = ""


class Exported(NamedTuple):
    """One table. Rows with the same `identity` are one thing, and the highest `version` of it holds."""

    name: str
    meaning: str
    identity: tuple[str, ...]
    version: str
    """Column that tells rows of one thing apart; empty where a row never changes."""
    columns: tuple[Column, ...]


def text(name: str, meaning: str = "") -> Column:
    return Column(name, Kind.TEXT, meaning)


def whole(name: str, meaning: str = "") -> Column:
    return Column(name, Kind.WHOLE, meaning)


def time(name: str, meaning: str = "") -> Column:
    return Column(name, Kind.TIME, meaning)


EVENTS = Exported(
    "events",
    "One row for each committed change of anything.",
    ("id",),
    "",
    (
        text("id"),
        text("type", "noun.verb_past, such as payment.succeeded"),
        text("merchant"),
        text("aggregate", "id of the thing that changed; for payments, refunds and disputes the payment's"),
        whole("version", "of the aggregate: 1, 2, 3 ..."),
        time("occurred_at"),
        text("cause", "api, lookup, notification, sweeper, audit ..."),
        text("actor", "who asked, if somebody did"),
        text("state", "the payment's fine-grained state after this"),
        text("detail", "why, in the platform's words"),
        text("route", "provider and why it was chosen, when an attempt was recorded"),
        text("attempt"),
        text("provider", "the payment's, after this"),
        text("alarms", "what a person must look at, separated by commas"),
        text("request_id"),
        text("trace", "W3C trace id"),
    ),
)
PAYMENT_VERSIONS = Exported(
    "payment_versions",
    "One row for each snapshot of a payment.",
    ("id", "version"),
    "",
    (
        text("id"),
        text("merchant"),
        whole("version"),
        text("event", "the event that made this snapshot"),
        text("status", "as the merchant sees it"),
        text("state", "fine-grained; tells uncertain from authorizing"),
        whole("amount"),
        text("currency"),
        whole("amount_authorized"),
        whole("amount_captured"),
        whole("amount_refunded"),
        whole("amount_disputed"),
        text("capture_method"),
        text("provider"),
        text("customer"),
        text("reference", "the merchant's own"),
        text("card_brand"),
        text("card_last4"),
        text("card_country", "of the issuer, ISO 3166"),
        text("card_bin", "the number's first 6 or 8 digits, which name the issuer"),
        text("decline_kind", "soft or hard"),
        text("decline_code"),
        text("cancel_reason"),
        whole("attempts", "how many there are"),
        whole("captures", "how many there are"),
        whole("refunds", "how many there are"),
        whole("disputes", "how many there are"),
        whole("amount_late", "taken or held by a late approval and not given back yet"),
        whole("amount_uncertain", "hangs on operations whose outcome is unknown"),
        whole("amount_refund_open", "reserved by refunds that are not finished"),
        time("authorization_expires_at"),
        time("created_at"),
        time("updated_at"),
    ),
)
ATTEMPTS = Exported(
    "attempts",
    "One row for each operation asked of a provider, as it stands now.",
    ("id",),
    "payment_version",
    (
        text("id"),
        text("merchant"),
        text("payment"),
        whole("payment_version"),
        whole("number", "1 for the payment's first"),
        text("provider"),
        text("operation", "authorize, capture, void, refund"),
        text("outcome", "null while nothing is known"),
        text("decline_kind"),
        text("decline_code"),
        text("network_code"),
        text("retry", "what may help after a decline"),
        time("started_at"),
        time("finished_at"),
        whole("duration_ms", "from the record of the attempt to that of its present outcome"),
        text("release", "of the platform that made it"),
    ),
)
REFUNDS = Exported(
    "refunds",
    "One row for each refund, as it stands now.",
    ("id",),
    "payment_version",
    (
        text("id"),
        text("merchant"),
        text("payment"),
        whole("payment_version"),
        text("provider"),
        text("status", "pending, succeeded, failed"),
        whole("amount"),
        text("currency"),
        text("reason"),
        text("failure"),
        time("created_at"),
        time("updated_at"),
    ),
)
DISPUTES = Exported(
    "disputes",
    "One row for each dispute, as it stands now.",
    ("id",),
    "payment_version",
    (
        text("id"),
        text("merchant"),
        text("payment"),
        whole("payment_version"),
        text("provider"),
        text("status", "opened, won, lost"),
        whole("amount"),
        text("currency"),
        text("reason"),
        time("opened_at"),
        time("updated_at"),
    ),
)
EXCHANGES = Exported(
    "exchanges",
    "One row for each HTTP exchange with a provider; never what was in it.",
    ("event", "number"),
    "",
    (
        text("event", "the event it led to"),
        whole("number", "1 for the first that led to that event"),
        text("merchant"),
        text("payment"),
        text("attempt"),
        text("provider"),
        text("operation", "of the attempt it belongs to"),
        text("method"),
        text("phase", "prepare, commit or read"),
        whole("status", "HTTP; null if no complete answer came"),
        text("fault", "what went wrong on the wire"),
        time("started_at"),
        whole("duration_ms"),
    ),
)
JOURNALS = Exported(
    "journals",
    "One row for each entry in the books.",
    ("id",),
    "",
    (
        text("id"),
        text("merchant"),
        text("payment"),
        text("kind", "capture, refund_reserved ..."),
        text("reference", "the attempt, refund or dispute it books"),
        text("currency"),
        whole("amount", "the sum of its debits"),
        text("event"),
        time("booked_at"),
    ),
)
POSTINGS = Exported(
    "postings",
    "The lines of the journals. Those of one journal sum to zero.",
    ("journal", "line"),
    "",
    (
        text("journal"),
        whole("line"),
        text("merchant"),
        text("payment"),
        text("kind"),
        text("account", "merchant_payable, provider_receivable:stripe ..."),
        text("currency"),
        whole("amount", "positive is a debit, negative a credit"),
        time("booked_at"),
    ),
)

TABLES = MappingProxyType(
    {one.name: one for one in (POSTINGS, JOURNALS, EXCHANGES, DISPUTES, REFUNDS, ATTEMPTS, PAYMENT_VERSIONS, EVENTS)}
)
"""In the order in which a batch is written: `events` is last, so whoever sees an event sees what it says, too."""

PAYMENTS = "payments"
"""The newest snapshot of each payment: made of `payment_versions` where queries run, not exported."""

QUERYABLE = frozenset({*TABLES, PAYMENTS})
"""All that a query may name."""


def columns_of(table: str) -> tuple[Column, ...]:
    """Raises KeyError for a table that is not queryable."""
    return PAYMENT_VERSIONS.columns if table == PAYMENTS else TABLES[table].columns
