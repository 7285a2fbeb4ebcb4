"""Signals, alerts and sources, as values."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

import msgspec

from interlock.core.access.model import ClientSecret
from interlock.core.desk.alerts.states import ACTIVE, AlertState
from interlock.core.kernel import ids
from interlock.core.kernel.clock import DAY, Millis
from interlock.core.kernel.ids import format_id
from interlock.core.kernel.secrets import Secret

ALERT = "alr"
"""Prefix of an alert's id."""
SIGNALS_MAX = 500
"""Alerts of one payload."""
LABELS_MAX = 64
LABELS_CHARACTERS_MAX = 16_384
"""All names and values of one alert's labels together, so that an alert always fits into an item."""
NAME_CHARACTERS_MAX = 200
LABEL_NAME_CHARACTERS_MAX = 128
LABEL_CHARACTERS_MAX = 512
SUMMARY_CHARACTERS_MAX = 1_024
FINGERPRINT_CHARACTERS_MAX = 255
URL_CHARACTERS_MAX = 2_048

REOPENS_WITHIN: Millis = DAY
"""What fires again so soon after it was resolved is the same alert, reopened; later it is another one."""
ALERTS_KEPT: Millis = 400 * DAY
"""How long a resolved alert is kept."""
SIGNALS_KEPT: Millis = 30 * DAY
MEMBERS_MAX = 500
"""Fingerprints that one alert keeps track of."""
RECENT_MAX = 100
"""Occurrences whose times an alert remembers; no rule may ask for more."""
HISTORY_MAX = 50
MUTED_MAX = 50
MUTED_CHARACTERS_MAX = 2 * LABELS_CHARACTERS_MAX
"""Of the labels of all signals that an alert remembers because they fire in a silence."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PLACE_CHARACTERS = 16


class AlertSeverity(StrEnum):
    """Worst first."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


BADNESS: Mapping[AlertSeverity, int] = {severity: place for place, severity in enumerate(reversed(AlertSeverity))}


class SignalState(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"
    """Somebody took it up in the other tool. Only PagerDuty's events say so."""


class AlertFormat(StrEnum):
    """What a source speaks. `formats.py` reads each."""

    ALERTMANAGER = "alertmanager"
    CLOUDWATCH = "cloudwatch"
    DATADOG = "datadog"
    GENERIC = "generic"
    GRAFANA = "grafana"
    PAGERDUTY = "pagerduty"
    SLACK = "slack"


class Signal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What another tool says of one alert at one moment. Everything in it is bounded, printable, and a stranger's words."""

    source: str
    """Id of the source."""
    fingerprint: str
    """The same each time the tool speaks of the same thing; it means something within its source only."""
    name: str
    severity: AlertSeverity
    state: SignalState
    labels: Mapping[str, str] = {}
    summary: str = ""
    runbook: str | None = None
    """http or https."""
    starts_at: Millis | None = None
    ends_at: Millis | None = None
    link: str | None = None
    """Where the tool shows it; http or https."""

    @property
    def own_key(self) -> str:
        """The key of the alert that it is when no rule groups it with others."""
        return f"{self.source}/{self.fingerprint}"

    @property
    def member(self) -> str:
        """How an alert's `members` name it."""
        return place_of(self.own_key)


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an alert's history."""

    at: Millis
    what: str
    """opened, reopened, silenced, held, repeated, acknowledged, assigned, resolved or noted."""
    by: str
    """client_id of a caller, or the id of the source."""
    note: str = ""
    rules: tuple[str, ...] = ()
    """Ids of the rules that decided it."""


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong: what one fingerprint, or the fingerprints a rule groups, told us."""

    id: str
    """alr_...; begins with the time of its first signal, and its end is a digest of `key`."""
    key: str
    """At most one alert of a key is active."""
    fingerprint: str
    """Of the signal that opened it."""
    source: str
    name: str
    severity: AlertSeverity
    """The worst of its members since the last of them was alone."""
    labels: Mapping[str, str]
    state: AlertState
    version: int
    """Of its events."""
    count: int
    """How often it was said to fire, repeats of the tool included."""
    first_at: Millis
    last_at: Millis
    """When a signal last changed it. No clock that steps back makes it smaller."""
    summary: str = ""
    runbook: str | None = None
    link: str | None = None
    starts_at: Millis | None = None
    """As the tool says; it may know of it for longer than we do."""
    ends_at: Millis | None = None
    members: tuple[str, ...] = ()
    """Places (`place_of`) of the own keys of the signals that fire now, oldest first."""
    uncounted: bool = False
    """More than MEMBERS_MAX fire: nobody can tell when the last has stopped, so only a person resolves it."""
    recent: tuple[Millis, ...] = ()
    """When it fired, the last RECENT_MAX times."""
    muted: tuple[Signal, ...] = ()
    """What fires in it and is silenced, newest last: by these it is known when the silence is over. Names and labels only."""
    noticed_at: Millis = 0
    """When it last made itself heard: opened, reopened or repeated."""
    resolved_at: Millis | None = None
    assignee: str | None = None
    history: tuple[Entry, ...] = ()
    """The last HISTORY_MAX lines."""

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE


class SourceProof(StrEnum):
    """How a source shows that it is the one."""

    BEARER = "bearer"
    BASIC = "basic"
    """The source's id is the user name, the token is the password."""
    ROUTING_KEY = "routing_key"
    """The token stands in the body, as PagerDuty's clients send it."""
    HMAC = "hmac"
    """A signature over timestamp and body."""
    SNS = "sns"
    """Signed by Amazon SNS, and from the topic we know."""


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool that may send alerts."""

    id: str
    """Chosen by who made it; stands in the URL."""
    name: str
    format: AlertFormat
    proof: SourceProof
    version: int
    created_at: Millis
    digest: ClientSecret | None = None
    """Of the token; for bearer, basic and routing_key."""
    secret: Secret | None = None
    """For hmac, as it is stored: in the clear, or sealed where the platform has a vault."""
    topic_arn: str | None = None
    """For sns."""


class Received(msgspec.Struct, frozen=True, omit_defaults=True):
    """A signal as it is kept for dry runs."""

    at: Millis
    signal: Signal


@lru_cache(maxsize=1_024)  # each signal asks several times
def place_of(key: str) -> str:
    """Where an alert of this key stands; the end of its id."""
    number = int.from_bytes(sha256(key.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in range(_PLACE_CHARACTERS))


def alert_id(key: str, at: Millis) -> str:
    """Always the same for the same two; sorts by time."""
    return format_id(ALERT, at, 0)[:-_PLACE_CHARACTERS] + place_of(key)


def place_in(alert: str) -> str:
    """The place that an alert's id names. Empty if it is none."""
    return alert[-_PLACE_CHARACTERS:] if ids.is_id(alert, ALERT) else ""
