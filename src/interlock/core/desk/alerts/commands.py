"""What is asked of the desk's alerts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.desk.alerts.model import AlertFormat, SourceProof
from interlock.core.desk.alerts.rules import RULES_MAX, AlertRule, Instant
from interlock.core.desk.alerts.sns import TOPIC_PATTERN

SOURCE_PATTERN = "[a-z0-9][a-z0-9_-]{0,39}"
SourceId = Annotated[str, Meta(pattern=rf"^{SOURCE_PATTERN}\Z", description="Stands in the URL it sends to.")]
Note = Annotated[str, Meta(max_length=500)]
Rules = Annotated[tuple[AlertRule, ...], Meta(max_length=RULES_MAX)]
TopicArn = Annotated[str, Meta(pattern=TOPIC_PATTERN)]
Person = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}\Z")]


class CreateAlertSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: SourceId
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    format: AlertFormat
    proof: SourceProof
    """Which ones a format allows is in `PROOFS` of `sources.py`; others are refused."""
    topic_arn: TopicArn | None = None
    """With proof sns: the only topic that is believed."""


class AcknowledgeAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Note = ""


class AssignAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    assignee: Person | None
    """null: nobody has it any more."""
    note: Note = ""


class ResolveAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: Note = ""


class ReplaceAlertRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Annotated[int, Meta(ge=0, le=2**31)]
    """Of the rules that were read and changed; 0 if there were none. Others' changes since then are not overwritten."""
    rules: Rules


class TryAlertRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: Rules | None = None
    """null: the rules that are in force."""
    since: Instant | None = None
    """null: a day before `until`."""
    until: Instant | None = None
    """null: now."""
