"""OpenSLO v1 in: a file of several documents to objectives, or every mistake in it at once.

Source: https://github.com/OpenSLO/OpenSLO (the specification of `openslo/v1`, checked 2026-11-27). What the specification allows
and we do not do is refused with the reason, never passed over. A metric source of type `interlock` says what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from interlock.core.desk.slo.alert_policies import Catalogue, read_catalogue, sounding
from interlock.core.desk.slo.fields import DESCRIPTION_MAX, Place, decimal, fields, items, name, text, truth, word
from interlock.core.desk.slo.indicators import read_sli
from interlock.core.desk.slo.model import WHOLE, Indicator, Ratio, Slo, ratio
from interlock.core.desk.slo.yaml_nodes import Faults, read_documents
from interlock.core.kernel.errors import Invalid

API_VERSION = "openslo/v1"
SLOS_MAX = 200
DAYS_MIN, DAYS_MAX = 3, 92
"""Alerts look back three days, so a window is no shorter; hours are kept for a quarter, so it is no longer."""
PLACES_MAX = 6
"""Digits of a target: 99.9999 %."""

KINDS = ("Service", "SLI", "SLO", "AlertPolicy", "AlertCondition", "AlertNotificationTarget")
_KINDS_REFUSED = {
    "DataSource": "there is one source, the platform's own attempts: put type: interlock into the metricSource",
}
_CALENDAR = "a calendar window forgets every error at its end, however recent; use a rolling one (isRolling: true)"
_METHODS_REFUSED = {
    "Timeslices": "a slice with one bad attempt of two would weigh as much as one with a thousand; use Occurrences",
    "RatioTimeslices": "slices weigh the same with one attempt as with a thousand; use Occurrences",
}
_SLICES = "belongs to Timeslices; the budgeting method here is Occurrences"
_COMPOSITE = "an objective of several indicators is not read; write an SLO for each"
_OBJECTIVE_REFUSED = {
    "op": "belongs to a thresholdMetric; the metric here is a ratio",
    "value": "belongs to a thresholdMetric; put threshold_ms into the metricSource",
    "timeSliceTarget": _SLICES,
    "timeSliceWindow": _SLICES,
    "indicator": _COMPOSITE,
    "indicatorRef": _COMPOSITE,
    "compositeWeight": _COMPOSITE,
}
_DAYS = MappingProxyType({"d": 1, "w": 7})


class _Document(NamedTuple):
    kind: str
    name: str
    """Empty if it has none or a bad one."""
    display_name: str
    spec: Place


def read_slos(source: str) -> tuple[Slo, ...]:
    """The file's objectives, in its order.

    Raises Invalid with a Fault for each mistake (at most a hundred): its pointer begins with the number of the document,
    from 0, and its detail with "line N: ".
    """
    faults = Faults()
    places = [Place(f"/{i}", node.line, node, faults) for i, node in enumerate(read_documents(source, faults))]
    documents = [document for place in places if not faults.is_full and (document := _document(place)) is not None]
    _refuse_repeated(documents)
    for document in documents:
        if document.kind in ("Service", "AlertNotificationTarget"):
            _read_plain(document)
    indicators = {one.name: read_sli(one.spec) for one in documents if one.kind == "SLI"}
    catalogue = read_catalogue(
        {one.name: one.spec for one in documents if one.kind == "AlertCondition"},
        {one.name: one.spec for one in documents if one.kind == "AlertPolicy"},
        {one.name for one in documents if one.kind == "AlertNotificationTarget"},
    )
    services = {one.name for one in documents if one.kind == "Service"}
    wanted = [document for document in documents if document.kind == "SLO"]
    slos = [_slo(one, indicators, catalogue, services) for one in wanted if not faults.is_full]
    if not wanted and not faults.listed:
        faults.add("", "empty", "there is no SLO in this file", line=1)
    if len(wanted) > SLOS_MAX:
        wanted[SLOS_MAX].spec.wrong("too_many", f"at most {SLOS_MAX} SLOs")
    if listed := faults.listed:
        raise Invalid(f"the SLO file has {len(listed)} mistakes; {listed[0].detail}", faults=listed)
    return tuple(slo for slo in slos if slo is not None)


def _document(place: Place) -> _Document | None:
    found = fields(
        place, known=("apiVersion", "kind", "metadata", "spec"), required=("apiVersion", "kind", "metadata", "spec")
    )
    word(found.get("apiVersion"), (API_VERSION,))
    kind = word(found.get("kind"), KINDS, refused=_KINDS_REFUSED)
    called, shown = read_metadata(found.get("metadata"))
    return _Document(kind, called, shown, found["spec"]) if kind and "spec" in found else None


def read_metadata(place: Place | None) -> tuple[str, str]:
    """Name and display name. Labels and annotations are looked at and left to their owners."""
    if place is None:
        return "", ""
    found = fields(place, known=("name", "displayName", "labels", "annotations"), required=("name",))
    for field in ("labels", "annotations"):
        if field in found:
            _check_texts(found[field], lists=field == "labels")
    return name(found.get("name")), text(found.get("displayName"))


def _check_texts(place: Place, *, lists: bool) -> None:
    keys = getattr(place.node, "fields", ())
    for value in fields(place, known=keys).values():
        entries = items(value) if lists and hasattr(value.node, "items") else [value]
        for entry in entries:
            text(entry)


def _refuse_repeated(documents: list[_Document]) -> None:
    first: dict[tuple[str, str], Place] = {}
    for one in documents:
        known = first.setdefault((one.kind, one.name), one.spec)
        if one.name and known is not one.spec:
            one.spec.wrong("repeated_name", f"a second {one.kind} {one.name}; the first is on line {known.line}")


def _read_plain(document: _Document) -> None:
    """A Service or a target of notifications: named here so that it can be referred to."""
    known = ("description",) if document.kind == "Service" else ("description", "target")
    found = fields(document.spec, known=known)
    text(found.get("description"), longest=DESCRIPTION_MAX)
    text(found.get("target"))


# -- an SLO ------------------------------------------------------------------------------------------------------------


def _slo(
    document: _Document, indicators: Mapping[str, Indicator | None], catalogue: Catalogue, services: set[str]
) -> Slo | None:
    """None if it has a fault; which, is told."""
    known = (
        "description",
        "service",
        "indicator",
        "indicatorRef",
        "timeWindow",
        "budgetingMethod",
        "objectives",
        "alertPolicies",
    )
    found = fields(
        document.spec,
        known=known,
        required=("service", "timeWindow", "budgetingMethod", "objectives"),
    )
    description = text(found.get("description"))
    service = name(found.get("service"))
    if service and services and service not in services:
        found["service"].wrong("unknown_service", f"there is no Service {service} in this file")
    indicator = _indicator(document.spec, found.get("indicator"), found.get("indicatorRef"), indicators)
    days = _window(found.get("timeWindow"))
    word(found.get("budgetingMethod"), ("Occurrences",), refused=_METHODS_REFUSED)
    target = _target(found.get("objectives"))
    rules, absence = sounding(found.get("alertPolicies"), catalogue)
    if indicator is None or days is None or target is None or not document.name or not service:
        return None
    return Slo(
        name=document.name,
        service=service,
        indicator=indicator,
        target=target,
        window_days=days,
        display_name=document.display_name,
        description=description,
        rules=rules,
        tells_absence=absence,
    )


def _indicator(
    spec: Place, inline: Place | None, reference: Place | None, indicators: Mapping[str, Indicator | None]
) -> Indicator | None:
    if inline is not None and reference is not None:
        reference.wrong("not_both", "either indicator or indicatorRef")
        return None
    if inline is not None:
        found = fields(inline, known=("metadata", "spec"), required=("metadata", "spec"))
        read_metadata(found.get("metadata"))
        return read_sli(found["spec"]) if "spec" in found else None
    if reference is None:
        spec.faults.add(f"{spec.pointer}/indicator", "missing", "indicator or indicatorRef is missing", line=spec.line)
        return None
    called = name(reference)
    if called and called not in indicators:
        reference.wrong("unknown_sli", f"there is no SLI {called} in this file")
    return indicators.get(called)


def _window(place: Place | None) -> int | None:
    """Days."""
    entries = items(place)
    if place is None or len(entries) != 1:
        if place is not None and not place.is_refused:
            place.wrong("not_one", "exactly one time window")
        return None
    found = fields(entries[0], known=("duration", "isRolling"), required=("duration",), refused={"calendar": _CALENDAR})
    has_calendar = "calendar" in getattr(entries[0].node, "fields", ())
    if truth(found.get("isRolling"), otherwise=False) is not True and not has_calendar:
        (found.get("isRolling") or entries[0]).wrong("not_supported", _CALENDAR)
    duration = text(found.get("duration"))
    if not duration:
        return None
    number, unit = duration[:-1], duration[-1]
    days = (
        int(number) * _DAYS[unit]
        if unit in _DAYS and number.isdecimal() and number.isascii() and len(number) < 5
        else 0
    )
    if not DAYS_MIN <= days <= DAYS_MAX:
        reason = f"a rolling window has {DAYS_MIN}d to {DAYS_MAX}d, in days or weeks (28d, 4w), not {duration[:40]}"
        found["duration"].wrong("bad_window", reason)
        return None
    return days


def _target(place: Place | None) -> Ratio | None:
    entries = items(place)
    if place is None or len(entries) != 1:
        if place is not None and not place.is_refused:
            place.wrong(
                "not_one", "exactly one objective: give each further target an SLO, and so a budget, of its own"
            )
        return None
    found = fields(entries[0], known=("displayName", "target", "targetPercent"), refused=_OBJECTIVE_REFUSED)
    text(found.get("displayName"))
    if ("target" in found) == ("targetPercent" in found):
        entries[0].wrong("not_one", "either target or targetPercent")
        return None
    where = found.get("target") or found["targetPercent"]
    percent = "targetPercent" in found
    given = decimal(where, places_max=PLACES_MAX - 2 if percent else PLACES_MAX)
    if given is None:
        return None
    share = ratio(given.over, given.under * 100) if percent else given
    if share.over == 0 or not WHOLE.is_above(share):
        reason = "a target lies between 0 and 1 (100 %), neither included: at 1 there is no budget, at 0 no promise"
        where.wrong("target_out_of_range", reason)
        return None
    return share
