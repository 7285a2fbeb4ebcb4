"""What a generator of requests cannot know: fresh idempotency keys, the simulator's card tokens, what is configured here.

Loaded by schemathesis (SCHEMATHESIS_HOOKS). Only requests that are meant to be good are changed, and they stay good.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

from interlock.entrypoints.http.requests import IDEMPOTENCY_KEY_PATTERN

TOKENS = (
    *("tok_approve",) * 6,
    "tok_decline_insufficient_funds",
    "tok_3ds",
    "tok_pending",
    "tok_decline_stolen",
    "tok_wrong_amount",
)
"""In turn. Tokens that make a provider silent are left out: they are waited for elsewhere."""
PROVIDERS = ("simulator", "simulator_b")
HOOK = "http://127.0.0.1:9/discard"
"""Nobody listens there: deliveries fail at once, and nothing leaves this machine."""

KNOWN_ONLY_HERE = {
    "unknown_rule": "which routing rules there are is the tenant's configuration",
    "unknown_provider": "which providers there are is the platform's configuration",
    "provider_unusable": "what a provider takes depends on its configuration and health",
    "repeated": "a schema cannot say that names differ between the objects of a list",
    "bad_cursor": "a cursor's kind is told by its prefix, and all lists share one form of it",
    "bad_range": "how far two times of one request are apart",
    "out_of_range": "which of two times of one request comes first",
    "not_allowed": "what a field may say depends on another field",
    "not_of_this_kind": "what a replay is chosen by depends on what is replayed",
    "unknown_queue": "which queues there are is the platform's configuration",
    "nothing_fits": "whether anything fits is known to the store alone",
    "required": "whether a field is needed depends on another field",
    "unknown_operation": "which operations there are is in the text beside the name",
    "amount_too_large": "how much is left to capture or refund is known to the payment alone",
}
"""Codes of faults for which a request may be refused with 400 though it is good by the schema, and why."""
LANGUAGES = {
    "/v1/slos": "the file is OpenSLO, which is read line by line",
    "/v1/desk/sql": "the text is SQL, which is parsed and held against a list of what may be asked",
}
"""Operations that take a text in a language of its own: to the schema any text is good."""
KEPT = 8
"""Of so many idempotency keys one is left as it was generated, so that replays and keys used twice come up, too."""
HISTORY = {422: "the key was used before with another body: the contract's promise, not the data's fault"}
TOKEN_FORM = {
    "invalid_scope": "which scopes a client has is its configuration",
    "invalid_request": "a client proves itself in one way: Basic in the header, or an assertion in the form",
}

_GOOD_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)
_numbers = itertools.count(1)
_payments = itertools.count()
_seen = Path(os.environ["INTERLOCK_CONTRACT_SEEN"])


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """OAuth tokens are bearer tokens, and the checks of authentication know that scheme only."""
    schemes = raw_schema["components"]["securitySchemes"]
    schemes["oauth2"] = {"type": "http", "scheme": "bearer"}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    number = next(_numbers)
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and _GOOD_KEY.fullmatch(key) and number % KEPT:
        case.headers["Idempotency-Key"] = f"contract-{number}"
    if isinstance(case.body, dict) and _is_good(case, ParameterLocation.BODY):
        steer = _STEERING.get(case.operation.definition.raw.get("operationId"))
        if steer is not None:
            steer(case.body, number)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    with _seen.open("a") as file:
        file.write(f"{case.operation.definition.raw['operationId']} {response.status_code}\n")


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """False: not a failure, for a reason in the tables above."""
    if not isinstance(failure, RejectedPositiveData):
        return True
    if response.status_code in HISTORY:
        return False
    if response.status_code != 400:
        return True
    problem = response.json()
    if case.operation.path in LANGUAGES:
        return False
    if case.operation.path == "/oauth/token":
        return problem["error"] not in TOKEN_FORM
    return not {fault["code"] for fault in problem["errors"]} <= set(KNOWN_ONLY_HERE) or not problem["errors"]


def _is_good(case: Any, location: ParameterLocation) -> bool:
    return case.meta is None or not case.meta.is_negative_at(location)


def _create_payment(body: dict[str, Any], number: int) -> None:
    if number % 8:
        place = next(_payments)
        body["payment_method"] = {"type": "card", "token": TOKENS[place % len(TOKENS)]}
        body["capture_method"] = "manual" if place % 2 else "automatic"
        body["confirm"] = place % 7 != 6
    _wish(body, number)


def _wish(body: dict[str, Any], number: int) -> None:
    wish = body.get("routing")
    if isinstance(wish, dict) and number % 8:
        if isinstance(wish.get("provider"), str):
            wish["provider"] = PROVIDERS[number % 2]
        wish.pop("rule", None)


def _all_that_is_left(body: dict[str, Any], number: int) -> None:
    if number % 3:
        body.pop("amount", None)


def _rules(body: dict[str, Any], number: int) -> None:
    for place, rule in enumerate(body.get("rules", ())):
        if number % 4:
            rule["name"] = f"rule_{place}"
            rule["providers"] = list(PROVIDERS[: 1 + number % 2])


def _hook(body: dict[str, Any], number: int) -> None:
    if isinstance(body.get("url"), str):
        body["url"] = HOOK


_STEERING: Mapping[str, Any] = {
    "createPayment": _create_payment,
    "previewRouting": _wish,
    "capturePayment": _all_that_is_left,
    "refundPayment": _all_that_is_left,
    "putRoutingRules": _rules,
    "createWebhookEndpoint": _hook,
    "updateWebhookEndpoint": _hook,
}
