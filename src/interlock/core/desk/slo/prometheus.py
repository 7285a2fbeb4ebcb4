"""The same alerts as Prometheus rules: for each objective a group that records what it needs and alerts as `alerts` does.

Ratios are of increases over one window, rounded to nine digits, so that a rate of exactly the threshold is not taken for one above
it by the last bit of a float. Increases are Prometheus' own: between scrapes they are estimates, so its guard against low traffic
counts within about a scrape of the window's edge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

from interlock.core.desk.slo.model import BURN_RULES, WINDOWS, BurnRule, Measure, Severity, Slo, ratio
from interlock.core.desk.slo.verdicts import ATTEMPTS_TOTAL, EVENTS_TOTAL, MISCOUNTED_TOTAL
from interlock.core.kernel.errors import Invalid

RUNBOOKS = "/operations/"
"""Below the address of the documentation: a page for each alert, by its name in small letters with hyphens."""
PAGE, TICKET, ABSENT, MISCOUNTED = "SloBurnPage", "SloBurnTicket", "SloNotMeasured", "SloMiscounted"
ABSENT_FOR = "10m"
INTERVAL = "1m"
_PLACES = 9
"""Of a ratio. A threshold has at most seven: six of the target, one of the burn rate."""

Rule = dict[str, Any]


def prometheus_rules(slos: Sequence[Slo], runbook_base: str) -> str:
    """A rules file. `runbook_base` is the address of the documentation. Raises Invalid if it is none, or two SLOs share a name."""
    if not runbook_base.startswith(("https://", "http://")) or any(c.isspace() for c in runbook_base):
        raise Invalid("the runbooks' address begins with https:// or http://", code="bad_address")
    if len({slo.name for slo in slos}) != len(slos):
        raise Invalid("two SLOs of one name", code="repeated")
    runbooks = runbook_base.rstrip("/") + RUNBOOKS
    groups = [
        {"name": f"slo-{slo.name}", "interval": INTERVAL, "rules": [*_recordings(slo), *_alerts(slo, runbooks)]}
        for slo in slos
    ]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=1_000, allow_unicode=True)
    return f"# Made from the objectives in use; changes belong there.\n{text}"


# -- recordings --------------------------------------------------------------------------------------------------------


def ratio_name(window: str) -> str:
    return f"interlock:slo_errors:ratio{window}"


def seen_name(window: str) -> str:
    return f"interlock:slo_seen:increase{window}"


def seen_bad_name(window: str) -> str:
    return f"interlock:slo_seen_bad:increase{window}"


def _recordings(slo: Slo) -> list[Rule]:
    labels = {"slo": slo.name, "service": slo.service}
    counter = ATTEMPTS_TOTAL if slo.indicator.measure is Measure.MONEY else EVENTS_TOTAL
    recorded = [("interlock:slo_target:ratio", f"vector({slo.target.exact()})")]
    recorded += [(ratio_name(window), _errors(slo, window)) for window in WINDOWS]
    for window in dict.fromkeys(rule.long for rule in BURN_RULES):
        recorded.append((seen_name(window), _increase(counter, slo, window)))
        recorded.append((seen_bad_name(window), _increase(counter, slo, window, good="false")))
    return [{"record": name, "expr": expression, "labels": dict(labels)} for name, expression in recorded]


def _errors(slo: Slo, window: str) -> str:
    """Nothing while there is no traffic, so that an empty window is no ratio at all."""
    bad = _increase(EVENTS_TOTAL, slo, window, good="false")
    total = _increase(EVENTS_TOTAL, slo, window)
    return f"floor({bad} / ({total} > 0) * 1e{_PLACES} + 0.5) / 1e{_PLACES}"


def _increase(counter: str, slo: Slo, window: str, *, good: str = "") -> str:
    wanted = f'slo="{slo.name}",good="{good}"' if good else f'slo="{slo.name}"'
    return f"sum by (slo) (increase({counter}{{{wanted}}}[{window}]))"


# -- alerts ------------------------------------------------------------------------------------------------------------


def _alerts(slo: Slo, runbooks: str) -> list[Rule]:
    made = [
        _alert(slo, runbooks, name, severity, _sounding(slo, rules), summary, _burn_description(slo, rules))
        for name, severity, summary in (
            (PAGE, Severity.PAGE, "the error budget burns fast"),
            (TICKET, Severity.TICKET, "the error budget burns too fast"),
        )
        if (rules := [rule for rule in slo.burn_rules if rule.severity is severity])
    ]
    if slo.tells_absence:
        # A counter per objective stands at zero from the start, so a new one without traffic is not absent.
        expression = f'absent({EVENTS_TOTAL}{{slo="{slo.name}"}})'
        told = f"There has been no counter for this objective for {ABSENT_FOR}: nobody would notice if it were missed."
        made.append(
            _alert(slo, runbooks, ABSENT, Severity.TICKET, expression, "is not measured", told, wait=ABSENT_FOR)
        )
    expression = f'sum by (slo) (increase({MISCOUNTED_TOTAL}{{slo="{slo.name}"}}[1h])) > 0'
    told = "More good than total was counted in the last hour. No figure of this objective can be trusted until that is repaired."
    made.append(_alert(slo, runbooks, MISCOUNTED, Severity.TICKET, expression, "is counted wrongly", told))
    return made


def _alert(
    slo: Slo,
    runbooks: str,
    alert: str,
    severity: Severity,
    expression: str,
    summary: str,
    description: str,
    *,
    wait: str = "",
) -> Rule:
    runbook = runbooks + re.sub(r"(?<!^)(?=[A-Z])", "-", alert).lower()
    labels = {"severity": severity.value, "slo": slo.name, "service": slo.service}
    annotations = {"summary": f"{_plain(slo.title)}: {summary}", "description": description, "runbook_url": runbook}
    held = {"for": wait} if wait else {}
    return {"alert": alert, "expr": expression, **held, "labels": labels, "annotations": annotations}


def _sounding(slo: Slo, rules: Sequence[BurnRule]) -> str:
    return " or ".join(f"({_rule(slo, rule)})" for rule in rules)


def _rule(slo: Slo, rule: BurnRule) -> str:
    """Both windows and the guard; its value is the short window's ratio of errors."""
    wanted = f'{{slo="{slo.name}"}}'
    limit = _threshold(slo, rule)
    return (
        f"{ratio_name(rule.short)}{wanted} > {limit} and {ratio_name(rule.long)}{wanted} > {limit}"
        f" and {seen_name(rule.long)}{wanted} >= {rule.events_min}"
        f" and {seen_bad_name(rule.long)}{wanted} >= {rule.bad_min}"
    )


def _threshold(slo: Slo, rule: BurnRule) -> str:
    spare = slo.target.less_than_one_by()
    return ratio(rule.burn_tenths * spare.over, 10 * spare.under).exact()


def _burn_description(slo: Slo, rules: Sequence[BurnRule]) -> str:
    told = "; ".join(
        f"{_threshold(slo, rule)} over {rule.short} and {rule.long} ({rule.burn_tenths // 10}.{rule.burn_tenths % 10} times "
        f"the budget's pace, of at least {rule.events_min} attempts with {rule.bad_min} bad)"
        for rule in rules
    )
    return (
        f"{{{{ $value | humanizePercentage }}}} is bad now; the target of {slo.window_days} days is "
        f"{slo.target.exact_percent()} good. Alerts above a share of bad of {told}."
    )


def _plain(text: str) -> str:
    """As an annotation, which Prometheus reads as a template."""
    return text.replace("{{", '{{ "{{" }}')
