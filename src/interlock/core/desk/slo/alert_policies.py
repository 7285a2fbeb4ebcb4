"""Alert policies of OpenSLO: they choose which of the burn rules sound for an objective, and cannot make others.

A condition of OpenSLO has one window and fires late or too often; ours have two each (`BURN_RULES`). A condition names one of them
by its severity, threshold and lookback window. Without policies, all of them sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from interlock.core.desk.slo.fields import Place, decimal, fields, items, name, scalar, text, truth, word
from interlock.core.desk.slo.model import BURN_RULES, EVERY_RULE, BurnRule, Severity, ratio
from interlock.core.desk.slo.yaml_nodes import Scalar, Table

_OFFERED = "; ".join(
    f"{rule.severity}, threshold {ratio(rule.burn_tenths, 10).decimal(1)}, lookbackWindow {rule.long}"
    for rule in BURN_RULES
)
_AFTER = "the short window confirms an alert, so nothing is waited for: 0m"

T = TypeVar("T")


class Policy(NamedTuple):
    rules: frozenset[str]
    when_absent: bool


class Catalogue(NamedTuple):
    """What may be referred to. None stands for what is there and faulty."""

    conditions: Mapping[str, BurnRule | None]
    policies: Mapping[str, Policy | None]
    targets: frozenset[str]


def read_catalogue(conditions: Mapping[str, Place], policies: Mapping[str, Place], targets: set[str]) -> Catalogue:
    """Of the specs of a file's documents, by name."""
    known = Catalogue({called: _condition(spec) for called, spec in conditions.items()}, {}, frozenset(targets))
    return known._replace(policies={called: _policy(spec, known) for called, spec in policies.items()})


def sounding(place: Place | None, catalogue: Catalogue) -> tuple[tuple[str, ...], bool]:
    """The names of the rules that an SLO's `alertPolicies` let sound, and whether missing data is told."""
    if place is None or not (entries := items(place)):
        return EVERY_RULE, True
    chosen = [policy for entry in entries if (policy := _chosen(entry, catalogue)) is not None]
    rules = tuple(rule for rule in EVERY_RULE if any(rule in policy.rules for policy in chosen))
    return rules, any(policy.when_absent for policy in chosen)


def _chosen(entry: Place, catalogue: Catalogue) -> Policy | None:
    """By name (as early files of v1 have it), by `alertPolicyRef`, or written out."""
    if isinstance(entry.node, Scalar):
        return _referred(entry, catalogue.policies, "AlertPolicy")
    if isinstance(entry.node, Table) and "alertPolicyRef" in entry.node.fields:
        found = fields(entry, known=("alertPolicyRef",))
        return _referred(found["alertPolicyRef"], catalogue.policies, "AlertPolicy")
    spec = _inline(entry, "AlertPolicy")
    return None if spec is None else _policy(spec, catalogue)


def _policy(spec: Place, catalogue: Catalogue) -> Policy | None:
    found = fields(
        spec,
        known=(
            "description",
            "alertWhenNoData",
            "alertWhenResolved",
            "alertWhenBreaching",
            "conditions",
            "notificationTargets",
        ),
        required=("conditions",),
    )
    text(found.get("description"))
    breaching = truth(found.get("alertWhenBreaching"), otherwise=False)
    absent = truth(found.get("alertWhenNoData"), otherwise=False)
    truth(found.get("alertWhenResolved"), otherwise=False)
    for target in items(found.get("notificationTargets")):
        _check_target(target, catalogue)
    conditions = items(found.get("conditions"))
    if "conditions" in found and len(conditions) != 1:
        found["conditions"].wrong("not_one", "exactly one condition: OpenSLO allows no more; name further policies")
    rules = [rule for entry in conditions if (rule := _condition_of(entry, catalogue)) is not None]
    if len(rules) != 1:
        return None
    return Policy(frozenset({rules[0].name} if breaching else ()), absent is True)


def _condition_of(entry: Place, catalogue: Catalogue) -> BurnRule | None:
    if isinstance(entry.node, Table) and "conditionRef" in entry.node.fields:
        found = fields(entry, known=("conditionRef",))
        return _referred(found["conditionRef"], catalogue.conditions, "AlertCondition")
    spec = _inline(entry, "AlertCondition")
    return None if spec is None else _condition(spec)


def _condition(spec: Place) -> BurnRule | None:
    found = fields(spec, known=("description", "severity", "condition"), required=("severity", "condition"))
    text(found.get("description"))
    severity = word(found.get("severity"), tuple(Severity))
    if "condition" not in found:
        return None
    inner = fields(
        found["condition"],
        known=("kind", "op", "threshold", "lookbackWindow", "alertAfter"),
        required=("threshold", "lookbackWindow"),
    )
    word(inner.get("kind"), ("burnrate",))
    word(inner.get("op"), ("gt",), refused=dict.fromkeys(("gte", "lt", "lte"), "an alert sounds strictly above: gt"))
    threshold = decimal(inner.get("threshold"), places_max=3)
    lookback = text(inner.get("lookbackWindow"))
    after = scalar(inner.get("alertAfter"))
    if after is not None and after.text not in ("0m", "0"):
        inner["alertAfter"].wrong("not_supported", _AFTER)
    if not severity or threshold is None or not lookback:
        return None
    for rule in BURN_RULES:
        if (rule.severity, ratio(rule.burn_tenths, 10), rule.long) == (severity, threshold, lookback):
            return rule
    found["condition"].wrong("not_a_burn_rule", f"the burn alerts there are: {_OFFERED}")
    return None


def _check_target(entry: Place, catalogue: Catalogue) -> None:
    """Where an alert goes is decided by whoever routes alerts, by severity; a reference must still lead somewhere."""
    if isinstance(entry.node, Table) and "targetRef" in entry.node.fields:
        _referred(
            fields(entry, known=("targetRef",))["targetRef"],
            dict.fromkeys(catalogue.targets),
            "AlertNotificationTarget",
        )
        return
    spec = _inline(entry, "AlertNotificationTarget")
    if spec is not None:
        found = fields(spec, known=("description", "target"), required=("target",))
        text(found.get("description"))
        text(found.get("target"))


def _inline(entry: Place, kind: str) -> Place | None:
    """The spec of something written out where it is used."""
    found = fields(entry, known=("kind", "metadata", "spec"), required=("kind", "metadata", "spec"))
    word(found.get("kind"), (kind,))
    if "metadata" in found:
        name(fields(found["metadata"], known=("name", "displayName", "labels", "annotations")).get("name"))
    return found.get("spec")


def _referred(place: Place, known: Mapping[str, T | None], kind: str) -> T | None:
    called = name(place)
    if called and called not in known:
        place.wrong("unknown_reference", f"there is no {kind} {called} in this file")
    return known.get(called)
