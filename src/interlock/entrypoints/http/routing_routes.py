"""Routing rules over HTTP: read, replace, and ask where a payment would go and why."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.access.audit import audit_event
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.providers import Action
from interlock.core.payments.commands import Amount, Body, CurrencyCode, RoutingWish
from interlock.core.payments.ports import Payments
from interlock.core.routing.handlers import RULES_MAX
from interlock.core.routing.model import Rule, Wanted, choose
from interlock.entrypoints.http.routing import Answer, Call, Route

Name = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,40}\Z")]


class RuleBody(Body, frozen=True):
    name: Name
    """`default` is used when a payment names no rule."""
    providers: Annotated[list[Name], Meta(min_length=1, max_length=20, extra_json_schema={"uniqueItems": True})]


class RulesBody(Body, frozen=True):
    rules: Annotated[list[RuleBody], Meta(max_length=RULES_MAX)]


class PreviewBody(Body, frozen=True):
    amount: Amount
    currency: CurrencyCode
    routing: RoutingWish | None = None


class RulesView(msgspec.Struct, frozen=True):
    rules: list[Rule]
    providers: list[str]
    """Configured providers, in the order used where there is no rule."""


class PassedOver(msgspec.Struct, frozen=True):
    provider: str
    why: str


class PreviewView(msgspec.Struct, frozen=True):
    provider: str | None
    reason: str
    passed_over: list[PassedOver]


def routing_routes(p: Payments) -> tuple[Route, ...]:
    async def get_rules(call: Call) -> Answer:
        rules = await p.rules.of(call.principal.tenant)
        return Answer(200, RulesView(list(rules.values()), list(p.gateway.names())))

    async def put_rules(call: Call) -> Answer:
        body: RulesBody = call.body
        rules = [Rule(rule.name, tuple(rule.providers)) for rule in body.rules]
        audit, event = audit_event(
            p.ids,
            p.clock.now(),
            actor=call.principal.client_id,
            action="routing_rules.replaced",
            target=call.principal.tenant,
            tenant=call.principal.tenant,
            detail={rule.name: ",".join(rule.providers) for rule in rules},
        )
        await p.rules.replace(call.principal.tenant, rules, p.gateway, also=[audit], events=[event])
        return Answer(200, RulesView(rules, list(p.gateway.names())))

    async def preview(call: Call) -> Answer:
        body: PreviewBody = call.body
        wish = body.routing or RoutingWish()
        wanted = Wanted(Action.AUTHORIZE, "card", body.currency, wish.provider, wish.rule)
        rules = await p.rules.of(call.principal.tenant)
        if wish.rule is not None and wish.rule not in rules:
            raise Invalid(faults=(Fault("/routing/rule", "unknown_rule", "no routing rule of that name"),))
        choice = choose(wanted, rules=rules, roster=p.gateway, off=await p.rules.switched_off())
        passed_over = [PassedOver(*refusal) for refusal in choice.passed_over]
        return Answer(200, PreviewView(choice.provider, choice.reason, passed_over))

    return (
        Route(
            method="GET",
            path="/v1/routing/rules",
            endpoint=get_rules,
            operation_id="getRoutingRules",
            summary="The tenant's routing rules",
            scope="routing:read",
            answers={200: RulesView},
            tags=("routing",),
        ),
        Route(
            method="PUT",
            path="/v1/routing/rules",
            endpoint=put_rules,
            operation_id="putRoutingRules",
            summary="Replace the tenant's routing rules",
            scope="routing:write",
            body=RulesBody,
            answers={200: RulesView},
            problems=(409, 503),
            tags=("routing",),
        ),
        Route(
            method="POST",
            path="/v1/routing/preview",
            endpoint=preview,
            operation_id="previewRouting",
            summary="Which provider a payment would go to, and why; moves nothing",
            scope="routing:read",
            body=PreviewBody,
            answers={200: PreviewView},
            tags=("routing",),
        ),
    )
