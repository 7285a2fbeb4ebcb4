"""The conformance kit: what every provider adapter must withstand, whatever it speaks to.

`assert_provider(case)` runs every check; each raises AssertionError that says what was answered to what. A case is written
once for each provider: how its good answers look, and how it signs. See docs/providers/writing-a-provider.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from interlock.core.kernel.cards import bin_of, country_of
from interlock.core.kernel.clock import DAY, HOUR, Millis
from interlock.core.kernel.errors import Invalid, Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import Action, Notification, Operation, Outcome, Result
from interlock.core.kernel.secrets import Secret
from interlock.providers.protocol import (
    Context,
    Fault,
    FaultClass,
    HttpReply,
    HttpRequest,
    Phase,
    Provider,
    RawNotification,
    advance,
)

NOW: Millis = 1_795_000_000_000
REQUESTS_MAX = 40
CARD_NUMBER = "4242424242424242"
OTHERS_ATTEMPT = "att_00000000000000000000000000"
OTHERS_REFERENCE = "pi_somebody_elses_payment"


class Case(msgspec.Struct, frozen=True):
    """What the kit must know of a provider."""

    provider: Provider
    credentials: Mapping[str, Secret]
    answer: Callable[[Operation, HttpRequest], HttpReply]
    """The provider's answer when all goes well: approved, for the amount and reference in the request; found, to a look."""
    provider_reference: str
    """The provider's id of the payment in those answers."""
    wire_amounts: Mapping[Money, bytes]
    """How an amount stands in a request's body: at least one currency each of 0, 2 and 3 decimals that it takes."""
    status_field: str = "status"
    """The JSON field that says how it went."""
    token: str = "tok_visa"
    country_field: str = "country"
    bin_field: str = "bin"
    """The JSON fields that tell of a card's issuer, where the provider does."""
    news: Callable[[Operation], bytes] | None = None
    """The body of a notification that the operation was approved, with an id of its own for each attempt."""
    sign: Callable[[bytes, Millis, Secret], RawNotification] | None = None
    """A notification with this body as the provider sends it at that time, signed with that secret."""


Answerer = Callable[[HttpRequest], "HttpReply | Fault"]


def assert_provider(case: Case) -> None:
    """Run every check. Raises AssertionError at the first that fails."""
    for check in CHECKS:
        check(case)


def converse(
    case: Case, op: Operation, answer: Answerer, *, now: Millis = NOW, resend: bool = False
) -> tuple[Result, list[HttpRequest]]:
    """Hold a conversation to its end: the result, and the requests made."""
    conversation = case.provider.run(op, Context(now, case.credentials, resend))
    reply: HttpReply | Fault | None = None
    requests: list[HttpRequest] = []
    while True:
        try:
            step = advance(conversation, reply)
        except Exception as error:
            raise AssertionError(f"{op.action} raised {type(error).__name__} on {reply!r}") from error
        if isinstance(step, Result):
            return step, requests
        requests.append(step)
        assert len(requests) <= REQUESTS_MAX, f"{op.action} asks without end"
        reply = answer(step)


def operations(case: Case, *, amount: Money | None = None, token: str | None = None) -> list[Operation]:
    """One operation for each action that moves money, and for automatic capture, as the capabilities allow."""
    amount = amount if amount is not None else next(money for money in case.wire_amounts if money.exponent == 2)
    able = case.provider.capabilities.actions
    found = []
    for number, (action, capture) in enumerate(
        [
            (Action.AUTHORIZE, False),
            (Action.AUTHORIZE, True),
            (Action.CAPTURE, False),
            (Action.VOID, False),
            (Action.REFUND, False),
        ]
    ):
        if action not in able:
            continue
        authorize = action is Action.AUTHORIZE
        found.append(
            Operation(
                action=action,
                attempt_id=f"att_0000000000000000000000000{number + 1}",
                payment_id="pay_00000000000000000000000001",
                tenant="ten_1",
                amount=amount,
                started_at=NOW - 10_000,
                capture=capture,
                final=action is Action.CAPTURE,
                token=(token or case.token) if authorize else "",
                provider_reference=None if authorize else case.provider_reference,
            )
        )
    return found


def lookups(case: Case) -> list[Operation]:
    """A lookup of each of the operations."""
    return [
        msgspec.structs.replace(
            op, action=Action.LOOKUP, target=op.action, token="", provider_reference=case.provider_reference
        )
        for op in operations(case)
    ]


def check_capabilities_are_sound(case: Case) -> None:
    can = case.provider.capabilities
    assert Action.AUTHORIZE in can.actions and Action.LOOKUP in can.actions, "it authorises and can be asked"
    assert can.idempotency_key_lifetime_ms > 0 and can.authorization_lifetime_ms > 0
    assert {money.exponent for money in case.wire_amounts} >= {0, 2, 3}, "show amounts of 0, 2 and 3 decimals"
    assert set(case.provider.credential_names) <= set(case.credentials)


def check_good_answers_are_understood(case: Case) -> None:
    for op in [*operations(case), *lookups(case)]:
        result, requests = converse(case, op, lambda request, op=op: case.answer(op, request))  # type: ignore[misc]
        asked = op.target or op.action
        assert result.outcome is Outcome.APPROVED, f"{op.action} of {asked} answered well came to {result}"
        assert result.amount == op.amount or (result.amount is None and asked is Action.VOID), f"{op.action}: {result}"
        assert requests, f"{op.action} asks nobody"
        if asked is Action.AUTHORIZE:
            assert result.provider_reference == case.provider_reference, f"{op.action}: {result}"
            assert result.captured is op.capture, f"{op.action} with capture={op.capture}: {result}"


def check_phases_tell_the_truth(case: Case) -> None:
    for op in operations(case):
        _, requests = converse(case, op, _well(case, op))
        commits = [request for request in requests if request.phase is Phase.COMMIT]
        assert commits, f"{op.action} moves money without a commit"
        for request in requests:
            assert request.method != "GET" or request.phase is not Phase.COMMIT, f"{request} commits by GET"
            assert request.method == "GET" or request.phase is not Phase.READ, (
                f"{request} only looks, by {request.method}"
            )
        for request in commits:
            carried = request.body + request.path.encode() + repr(dict(request.headers)).encode()
            named = request.idempotency_header is not None or op.attempt_id.encode() in carried
            assert named, f"{request} would act twice if repeated: neither idempotency header nor attempt id"
            if op.action is Action.AUTHORIZE and case.provider.capabilities.lookup_by_our_reference:
                assert op.attempt_id.encode() in carried, f"{request} does not carry the reference it is looked up by"
    for op in lookups(case):
        _, requests = converse(case, op, _well(case, op))
        assert all(request.phase is Phase.READ for request in requests), f"a lookup of {op.target} does more than look"


def check_same_operation_gives_same_requests(case: Case) -> None:
    for op in operations(case):
        first = converse(case, op, _well(case, op))[1]
        assert first == converse(case, op, _well(case, op), now=NOW + HOUR)[1], f"{op.action} differs an hour later"
        again = converse(case, op, _well(case, op), resend=True)[1]
        commits = [request for request in first if request.phase is Phase.COMMIT]
        resent = [request for request in again if request.phase is Phase.COMMIT]
        assert resent in (commits, []), f"{op.action} resends something else"


def check_server_errors_prove_nothing(case: Case) -> None:
    for op in [*operations(case), *lookups(case)]:
        good = _body(case, op)
        for status in (500, 501, 502, 503, 504, 520, 599):
            for body in (good, b"", b"<html>Bad Gateway</html>", b'{"error":{"type":"api_error","message":"sorry"}}'):
                _expect_unknown(case, op, HttpReply(status, {}, body), f"{status} with {body[:40]!r}")


def check_garbage_proves_nothing(case: Case) -> None:
    for op in [*operations(case), *lookups(case)]:
        good = _body(case, op)
        garbage = [
            b"",
            b" ",
            b"<!doctype html><html><body>OK</body></html>",
            b"OK",
            b"null",
            b"true",
            b"[]",
            b"{}",
            b'"succeeded"',
            b"0",
            b"NaN",
            b'{"error":null}',
            b'{"error":"declined"}',
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b'{"a":' * 5_000,
            *(good[: len(good) * part // 8] for part in range(1, 8)),
            good[:-1],
        ]
        for status in (200, 201, 202, 204, 302, 400, 401, 402, 403, 404, 409, 422, 429):
            for body in garbage:
                if op.action is Action.LOOKUP and status == 404:
                    continue  # how a provider says that it does not know a thing is its own affair
                _expect_unknown(case, op, HttpReply(status, {}, body), f"{status} with {body[:40]!r}")


def check_mangled_answers_are_not_believed(case: Case) -> None:
    """A good answer with one value replaced is never a failure, and never success with an amount nobody echoed."""
    for op in operations(case):
        good = json.loads(_body(case, op))
        for path, value in _leaves(good):
            wrongs: tuple[Any, ...] = (None, "x", "", -1, 1.5, 10**30, [], {}, [[]], not value, float("nan"))
            for wrong in wrongs:
                body = json.dumps(_replaced(good, path, wrong)).encode()
                result, _ = converse(case, op, _instead(case, op, HttpReply(200, {}, body)))
                what = f"{op.action} answered with {'.'.join(map(str, path))} = {wrong!r} came to {result}"
                assert result.outcome not in (Outcome.DECLINED, Outcome.NOT_SENT), what
                _assert_echo(result, what)


def check_amounts_are_echoed_not_assumed(case: Case) -> None:
    """When the provider names another amount or currency, the result must not name the one asked for."""
    for op in operations(case):
        good = json.loads(_body(case, op))
        if op.action is Action.VOID:
            continue
        currency, amount = op.amount.currency, op.amount.amount
        other = "USD" if currency != "USD" else "EUR"
        lies: list[dict[tuple[str | int, ...], Any]] = []
        for _, value in _leaves(good):
            alike = [path for path, other_value in _leaves(good) if other_value == value]
            if isinstance(value, str) and value.upper() == currency:
                lies.append(dict.fromkeys(alike, other.lower() if value.islower() else other))
            elif value == amount and not isinstance(value, bool):
                lies.append(dict.fromkeys(alike, amount + 1))
        assert len(lies) >= 2, f"the good answer to {op.action} names no amount and currency"
        for lie in lies:
            told = good
            for path, wrong in lie.items():
                told = _replaced(told, path, wrong)
            result, _ = converse(case, op, _instead(case, op, HttpReply(200, {}, json.dumps(told).encode())))
            what = f"{op.action} answered with {lie} came to {result}"
            assert result.outcome is not Outcome.APPROVED or result.amount != op.amount, what
            assert result.outcome not in (Outcome.DECLINED, Outcome.NOT_SENT), what


def check_unknown_status_is_neither_success_nor_failure(case: Case) -> None:
    for op in [*operations(case), *lookups(case)]:
        good = json.loads(_body(case, op))
        paths = [path for path, _ in _leaves(good) if path[-1] == case.status_field]
        assert paths, f"the good answer to {op.action} has no {case.status_field}"
        told = good
        for path in paths:
            told = _replaced(told, path, "a_status_from_the_future")
        result, _ = converse(case, op, _instead(case, op, HttpReply(200, {}, json.dumps(told).encode())))
        sure = (Outcome.APPROVED, Outcome.DECLINED, Outcome.NOT_SENT)
        assert result.outcome not in sure, f"{op.action} with an unknown status came to {result}"


def check_another_reference_is_not_ours(case: Case) -> None:
    """An answer about another attempt or another payment is in doubt, or at least says whose it is."""
    for op in operations(case):
        good = _body(case, op)
        if op.attempt_id.encode() in good:
            theirs = good.replace(op.attempt_id.encode(), OTHERS_ATTEMPT.encode())
            _expect_unknown(case, op, HttpReply(200, {}, theirs), "an answer about another attempt")
        if op.provider_reference is not None and op.provider_reference.encode() in good:
            theirs = good.replace(op.provider_reference.encode(), OTHERS_REFERENCE.encode())
            result, _ = converse(case, op, _instead(case, op, HttpReply(200, {}, theirs)))
            told = result.outcome is Outcome.UNKNOWN or result.provider_reference == OTHERS_REFERENCE
            assert told, f"{op.action} answered for another payment came to {result}"


def check_faults_prove_nothing(case: Case) -> None:
    for op in [*operations(case), *lookups(case)]:
        requests = converse(case, op, _well(case, op))[1]
        for position in range(len(requests)):
            for kind in FaultClass:
                answers = iter([*(case.answer(op, request) for request in requests[:position])])
                result, _ = converse(case, op, lambda _, a=answers, k=kind: next(a, Fault(k)))  # type: ignore[misc]
                what = f"{op.action} with {kind} at request {position + 1} came to {result}"
                exposed = any(request.phase is Phase.COMMIT for request in requests[:position])
                harmless = kind.before_sending or requests[position].phase is Phase.PREPARE
                safe = harmless and not exposed and op.action is not Action.LOOKUP
                allowed = {Outcome.UNKNOWN, Outcome.NOT_SENT} if safe else {Outcome.UNKNOWN}
                if position > 0:
                    allowed |= {Outcome.APPROVED, Outcome.PENDING}
                assert result.outcome in allowed, what


def check_amounts_are_in_the_providers_units(case: Case) -> None:
    for money, wire in case.wire_amounts.items():
        for op in operations(case, amount=money):
            result, requests = converse(case, op, _well(case, op))
            assert result.outcome is Outcome.APPROVED, f"{op!r} answered well came to {result}"
            assert result.amount in (money, None), f"{op!r} came back as {result.amount}"
            if op.action is Action.AUTHORIZE:
                bodies = [request.body for request in requests if request.phase is Phase.COMMIT]
                assert any(wire in body for body in bodies), f"{op!r} went out without {wire!r}"


def check_nothing_secret_shows(case: Case) -> None:
    secrets = [secret.reveal() for secret in case.credentials.values()]
    for op in operations(case, token=CARD_NUMBER):
        result, requests = converse(case, op, _well(case, op))
        shown = repr((op, requests, result, case.provider, case.credentials, [request.path for request in requests]))
        for secret in (CARD_NUMBER, *secrets):
            assert secret not in shown, f"{op.action} shows a secret or a card number"


def check_a_cards_issuer_is_told_or_unknown(case: Case) -> None:
    """Country and BIN are what they should be or absent; odd ones change nothing else, and no further digit gets in."""
    for op in operations(case):
        good = json.loads(_body(case, op))
        whole, _ = converse(case, op, _well(case, op))
        card = whole.card
        if card is not None:
            told = (country_of(card.country), bin_of(card.bin, brand=card.brand))
            assert told == (card.country, card.bin), f"{op.action} tells of a card of {card.country} {card.bin}"
        for path, _ in _leaves(good):
            if path[-1] not in (case.country_field, case.bin_field):
                continue
            odds: tuple[Any, ...] = (None, "", "x", "zz", 424242, [], {}, CARD_NUMBER, CARD_NUMBER[:9], "é" * 6)
            for odd in odds:
                body = json.dumps(_replaced(good, path, odd)).encode()
                result, _ = converse(case, op, _instead(case, op, HttpReply(200, {}, body)))
                what = f"{op.action} answered with {'.'.join(map(str, path))} = {odd!r} came to {result}"
                assert result.outcome is whole.outcome, what
                # A card that was shown twice is known by the other time.
                kept = {result.card.country, result.card.bin} if result.card else set()
                assert kept <= {None, card.country if card else None, card.bin if card else None}, what
                assert CARD_NUMBER[:9] not in repr(result), what


def check_notifications_are_verified_before_they_are_read(case: Case) -> None:
    if case.news is None or case.sign is None:
        return
    secret, older, strange = Secret("whsec_current"), Secret("whsec_older"), Secret("whsec_strange")
    op = operations(case)[0]
    body = case.news(op)
    good = case.sign(body, NOW, secret)
    valid = {case.provider.signing_secret_name: [secret, older]}
    (news,) = _accepted(case, good, valid, "a genuine notification")
    assert news.id and _accepted(case, good, valid, "a repeat")[0].id == news.id, "a repeat cannot be recognised"
    other = case.sign(case.news(operations(case)[1]), NOW, secret)
    assert _accepted(case, other, valid, "another one")[0].id != news.id, "two notifications share an id"
    _accepted(case, case.sign(body, NOW, older), valid, "one signed with the secret that is being rotated out")
    refused: dict[str, tuple[RawNotification, Mapping[str, list[Secret]]]] = {
        "a changed body": (good._replace(body=body.replace(b"1", b"2", 1)), valid),
        "a longer body": (good._replace(body=body + b" "), valid),
        "an empty body": (good._replace(body=b""), valid),
        "no headers": (good._replace(headers={}), valid),
        "empty headers": (good._replace(headers=dict.fromkeys(good.headers, "")), valid),
        "nonsense headers": (good._replace(headers=dict.fromkeys(good.headers, "t=x,v1=é;=\x00,")), valid),
        "another's secret": (case.sign(body, NOW, strange), valid),
        "no secret configured": (good, {case.provider.signing_secret_name: []}),
        "no secret at all": (good, {}),
        "one of an hour ago": (good._replace(received_at=NOW + HOUR), valid),
        "one of tomorrow": (good._replace(received_at=NOW - DAY), valid),
        "unsigned garbage": (good._replace(body=b"\xff{"), valid),
    }
    for name, (raw, secrets) in refused.items():
        try:
            case.provider.notifications(raw, secrets)
        except Unauthenticated as error:
            assert secret.reveal() not in str(error), "the refusal shows the secret"
        except Exception as error:
            raise AssertionError(f"{name} is not Unauthenticated but {type(error).__name__}") from error
        else:
            raise AssertionError(f"{name} is accepted")


def _accepted(case: Case, raw: RawNotification, secrets: Mapping[str, list[Secret]], what: str) -> list[Notification]:
    try:
        return case.provider.notifications(raw, secrets)
    except Exception as error:
        raise AssertionError(f"{what} is refused: {type(error).__name__}") from error


def check_signed_garbage_is_invalid(case: Case) -> None:
    if case.sign is None:
        return
    secret = Secret("whsec_current")
    for body in (b"", b"\xff", b"{", b"null", b"[]", b"5", b"[" * 100_000, b'{"id":5}'):
        raw = case.sign(body, NOW, secret)
        try:
            case.provider.notifications(raw, {case.provider.signing_secret_name: [secret]})
        except (Invalid, Unauthenticated):
            continue
        except Exception as error:
            raise AssertionError(f"signed {body[:20]!r} raised {type(error).__name__}") from error
        raise AssertionError(f"signed {body[:20]!r} is accepted")


CHECKS: tuple[Callable[[Case], None], ...] = (
    check_capabilities_are_sound,
    check_good_answers_are_understood,
    check_phases_tell_the_truth,
    check_same_operation_gives_same_requests,
    check_server_errors_prove_nothing,
    check_garbage_proves_nothing,
    check_mangled_answers_are_not_believed,
    check_amounts_are_echoed_not_assumed,
    check_unknown_status_is_neither_success_nor_failure,
    check_another_reference_is_not_ours,
    check_faults_prove_nothing,
    check_amounts_are_in_the_providers_units,
    check_nothing_secret_shows,
    check_a_cards_issuer_is_told_or_unknown,
    check_notifications_are_verified_before_they_are_read,
    check_signed_garbage_is_invalid,
)


def _well(case: Case, op: Operation) -> Answerer:
    return lambda request: case.answer(op, request)


def _instead(case: Case, op: Operation, reply: HttpReply) -> Answerer:
    """Answer preparations well, and everything else with `reply`."""
    return lambda request: case.answer(op, request) if request.phase is Phase.PREPARE else reply


def _body(case: Case, op: Operation) -> bytes:
    """The good answer to the request that matters: the last one."""
    return case.answer(op, converse(case, op, _well(case, op))[1][-1]).body


def _expect_unknown(case: Case, op: Operation, reply: HttpReply, what: str) -> None:
    result, _ = converse(case, op, _instead(case, op, reply))
    assert result.outcome is Outcome.UNKNOWN, f"{op.action} answered with {what} came to {result}"


def _assert_echo(result: Result, what: str) -> None:
    if result.outcome is Outcome.APPROVED:
        assert result.amount is None or type(result.amount.amount) is int, what


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every scalar in a JSON value, with the way to it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    elif path:
        yield path, value


def _replaced(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy of a JSON value with another value at the end of `path`."""
    if not path:
        return new
    head, *rest = path
    if isinstance(value, dict):
        return {name: _replaced(inner, tuple(rest), new) if name == head else inner for name, inner in value.items()}
    return [_replaced(inner, tuple(rest), new) if index == head else inner for index, inner in enumerate(value)]
