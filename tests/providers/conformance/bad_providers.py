"""A provider that does everything right, and a collection that each does one thing wrong.

The API spoken of is made up: POST /pay, /capture, /void, /refund and GET /find, JSON both ways, amounts in minor units.
"""

from __future__ import annotations

import hmac
import json
from hashlib import sha256

from interlock.core.kernel.cards import bin_of, country_of
from interlock.core.kernel.errors import Invalid, Unauthenticated
from interlock.core.kernel.money import Money
from interlock.core.kernel.providers import (
    Action,
    Capabilities,
    Card,
    Decline,
    Notification,
    NotificationKind,
    Operation,
    Outcome,
    Result,
    Retry,
)
from interlock.core.kernel.secrets import Secret
from interlock.providers.conformance import Case
from interlock.providers.protocol import Fault, HttpReply, HttpRequest, Phase, RawNotification

KEY = "key_very_secret_1"
PATHS = {Action.AUTHORIZE: "/pay", Action.CAPTURE: "/capture", Action.VOID: "/void", Action.REFUND: "/refund"}
STATUS = {"done": Outcome.APPROVED, "refused": Outcome.DECLINED, "working": Outcome.PENDING}


class GoodProvider:
    name = "good"
    credential_names = ("key",)
    signing_secret_name = "webhook_secret"
    capabilities = Capabilities(frozenset(Action), frozenset({"card"}), None)

    def run(self, op, ctx):
        reply = yield self.request(op, ctx)
        if isinstance(reply, Fault):
            return self.lost(op, reply)
        if reply.status != 200:
            return self.not_ok(op, reply)
        try:
            read = json.loads(reply.body)
            return self.read(op, read)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return self.unreadable(op)

    def request(self, op, ctx):
        if op.action is Action.LOOKUP:
            return HttpRequest("GET", f"/find?attempt={op.attempt_id}", Phase.READ, self.headers(ctx))
        return HttpRequest(
            "POST", PATHS[op.action], Phase.COMMIT, self.headers(ctx), self.body(op, ctx), "Idempotency-Key"
        )

    def headers(self, ctx):
        return {"Authorization": f"Bearer {ctx.credentials['key'].reveal()}"}

    def body(self, op, ctx):
        return json.dumps(
            {
                "attempt": op.attempt_id,
                "amount": self.minor_units(op.amount),
                "currency": op.amount.currency,
                "token": op.token,
                "capture": op.capture,
                "payment": op.provider_reference,
            }
        ).encode()

    def minor_units(self, money):
        return money.amount

    def lost(self, op, fault):
        return Result(Outcome.UNKNOWN, detail=fault.kind.value)

    def not_ok(self, op, reply):
        return Result(Outcome.UNKNOWN, detail=f"http_{reply.status}")

    def unreadable(self, op):
        return Result(Outcome.UNKNOWN, detail="unreadable")

    def read(self, op, read):
        if self.is_anothers(op, read):
            return Result(Outcome.UNKNOWN, detail="reference_mismatch")
        outcome = self.outcome(read["status"])
        if outcome is Outcome.UNKNOWN:
            return Result(outcome, detail="unknown_status")
        return Result(
            outcome,
            provider_reference=read["payment"],
            amount=self.amount(op, read),
            captured=bool(op.capture and (op.target or op.action) is Action.AUTHORIZE),
            decline=Decline("soft", "declined", Retry.NEVER) if outcome is Outcome.DECLINED else None,
            card=self.card(read),
        )

    def card(self, read):
        return Card("visa", "4242", 12, 2031, country_of(read["country"]), bin_of(read["bin"], brand="visa"))

    def is_anothers(self, op, read):
        return read["attempt"] != op.attempt_id or not isinstance(read["payment"], str)

    def outcome(self, status):
        return STATUS.get(status, Outcome.UNKNOWN)

    def amount(self, op, read):
        return Money(read["amount"], read["currency"])

    def notifications(self, raw, secrets):
        self.verify(raw, secrets)
        return self.parse(raw.body)

    def verify(self, raw, secrets):
        stamp, _, signature = raw.headers.get("signature", "").partition(".")
        if not stamp.isdigit() or not signature.isascii():
            raise Unauthenticated("malformed signature")
        self.check_age(raw.received_at, int(stamp))
        for secret in self.usable(secrets):
            expected = hmac.new(secret.reveal().encode(), stamp.encode() + raw.body, sha256).hexdigest()
            if hmac.compare_digest(expected, signature):
                return
        raise Unauthenticated("not signed by us")

    def check_age(self, received_at, stamp):
        if abs(received_at - stamp) > 300_000:
            raise Unauthenticated("too old")

    def usable(self, secrets):
        return secrets.get("webhook_secret", [])

    def parse(self, body):
        try:
            read = json.loads(body)
            return [self.notification(str(read["id"]), read["attempt"])]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Invalid("not readable") from error

    def notification(self, news_id, attempt):
        return Notification(news_id, NotificationKind.OTHER, 0, attempt_id=attempt)


def answer(op: Operation, request: HttpRequest) -> HttpReply:
    body = {
        "status": "done",
        "attempt": op.attempt_id,
        "payment": "pp_1",
        "amount": op.amount.amount,
        "currency": op.amount.currency,
        "country": "FR",
        "bin": "49701012",
    }
    return HttpReply(200, {}, json.dumps(body).encode())


def news(op: Operation) -> bytes:
    return json.dumps({"id": f"n_{op.attempt_id}", "attempt": op.attempt_id}).encode()


def sign(body: bytes, at: int, secret: Secret) -> RawNotification:
    digest = hmac.new(secret.reveal().encode(), str(at).encode() + body, sha256).hexdigest()
    return RawNotification({"signature": f"{at}.{digest}"}, body, at)


def case(provider: object) -> Case:
    return Case(
        provider=provider,  # type: ignore[arg-type]
        credentials={"key": Secret(KEY)},
        answer=answer,
        provider_reference="pp_1",
        wire_amounts={
            Money(1999, "EUR"): b'"amount": 1999, "currency": "EUR"',
            Money(500, "JPY"): b'"amount": 500, "currency": "JPY"',
            Money(5120, "KWD"): b'"amount": 5120, "currency": "KWD"',
        },
        news=news,
        sign=sign,
    )


class CannotLookUp(GoodProvider):
    capabilities = Capabilities(frozenset({Action.AUTHORIZE}), frozenset({"card"}), None)


class MissesApproval(GoodProvider):
    def outcome(self, status):
        return Outcome.PENDING


class ForgetsThePaymentsId(GoodProvider):
    def read(self, op, read):
        result = super().read(op, read)
        return Result(result.outcome, amount=result.amount, captured=result.captured)


class CommitsByGet(GoodProvider):
    def request(self, op, ctx):
        body = self.body(op, ctx)
        return HttpRequest(
            "GET", PATHS.get(op.action, "/find"), Phase.COMMIT, self.headers(ctx), body, "Idempotency-Key"
        )


class CallsACommitPreparation(GoodProvider):
    def request(self, op, ctx):
        made = super().request(op, ctx)
        return HttpRequest(made.method, made.path, Phase.PREPARE, made.headers, made.body, made.idempotency_header)


class LooksUpByPost(GoodProvider):
    def request(self, op, ctx):
        return HttpRequest(
            "POST", PATHS.get(op.action, "/find"), Phase.COMMIT, {}, self.body(op, ctx), "Idempotency-Key"
        )


class SendsNoKey(GoodProvider):
    def body(self, op, ctx):
        return super().body(op, ctx).replace(op.attempt_id.encode(), b"")

    def request(self, op, ctx):
        made = super().request(op, ctx)
        return HttpRequest(made.method, made.path, made.phase, made.headers, made.body)


class SendsNoReference(GoodProvider):
    def body(self, op, ctx):
        return super().body(op, ctx).replace(op.attempt_id.encode(), b"")


class StampsTheTime(GoodProvider):
    def body(self, op, ctx):
        return super().body(op, ctx) + str(ctx.now).encode()


class ChangesAResend(GoodProvider):
    def body(self, op, ctx):
        return super().body(op, ctx) + (b" " if ctx.resend else b"")


class TakesServerErrorsForDeclines(GoodProvider):
    def not_ok(self, op, reply):
        return Result(Outcome.DECLINED) if reply.status >= 500 else super().not_ok(op, reply)


class TakesServerErrorsForNotSent(GoodProvider):
    def not_ok(self, op, reply):
        return Result(Outcome.NOT_SENT) if reply.status == 503 else super().not_ok(op, reply)


class ReadsWhateverTheStatus(GoodProvider):
    def not_ok(self, op, reply):
        try:
            return self.read(op, json.loads(reply.body))
        except (ValueError, TypeError, KeyError):
            return self.unreadable(op)


class TakesAnyRefusalForADecline(GoodProvider):
    def not_ok(self, op, reply):
        return Result(Outcome.DECLINED) if reply.status < 500 else super().not_ok(op, reply)


class TakesGarbageForNotSent(GoodProvider):
    def unreadable(self, op):
        return Result(Outcome.NOT_SENT)


class BreaksOnGarbage(GoodProvider):
    def unreadable(self, op):
        raise ValueError("no JSON")


class DeclinesWhenAFieldIsOdd(GoodProvider):
    def read(self, op, read):
        return super().read(op, read) if isinstance(read["currency"], str) else Result(Outcome.DECLINED)


class AssumesTheAmount(GoodProvider):
    def amount(self, op, read):
        return op.amount


class AssumesTheCurrency(GoodProvider):
    def amount(self, op, read):
        return Money(read["amount"], op.amount.currency)


class TakesUnknownForSuccess(GoodProvider):
    def outcome(self, status):
        return STATUS.get(status, Outcome.APPROVED)


class TakesUnknownForFailure(GoodProvider):
    def outcome(self, status):
        return STATUS.get(status, Outcome.DECLINED)


class TakesAnyonesAnswer(GoodProvider):
    def is_anothers(self, op, read):
        return False


class ClaimsAnyPayment(GoodProvider):
    def read(self, op, read):
        return super().read(op, {**read, "payment": op.provider_reference or read["payment"]})


class TakesTimeoutsForNotSent(GoodProvider):
    def lost(self, op, fault):
        return Result(Outcome.NOT_SENT)


class TakesFaultsForDeclines(GoodProvider):
    def lost(self, op, fault):
        return Result(Outcome.DECLINED if fault.kind.before_sending else Outcome.UNKNOWN)


class ThinksEveryCurrencyHasCents(GoodProvider):
    def minor_units(self, money):
        return money.amount * 100 if money.exponent == 0 else money.amount


class ThinksDinarsHaveCents(GoodProvider):
    def minor_units(self, money):
        return money.amount // 10 if money.exponent == 3 else money.amount


class ShowsItsKeyInThePath(GoodProvider):
    def request(self, op, ctx):
        made = super().request(op, ctx)
        key = ctx.credentials["key"].reveal()
        return HttpRequest(made.method, f"{made.path}?key={key}", made.phase, {}, made.body, made.idempotency_header)


class ShowsTheCard(GoodProvider):
    def read(self, op, read):
        result = super().read(op, read)
        return Result(result.outcome, result.provider_reference, amount=result.amount, detail=op.token)


class KeepsWhateverIsCalledABin(GoodProvider):
    def card(self, read):
        return Card("visa", "4242", 12, 2031, country_of(read["country"]), read["bin"])


class KeepsWhateverIsCalledACountry(GoodProvider):
    def card(self, read):
        return Card("visa", "4242", 12, 2031, read["country"], bin_of(read["bin"], brand="visa"))


class KeepsTooManyDigits(GoodProvider):
    def card(self, read):
        return Card("amex", "0005", 12, 2031, country_of(read["country"]), bin_of(read["bin"], brand="visa"))


class DoubtsWhatHasAnOddIssuer(GoodProvider):
    def read(self, op, read):
        if country_of(read["country"]) is None:
            return Result(Outcome.UNKNOWN, detail="strange_card")
        return super().read(op, read)


class BelievesAnyNotification(GoodProvider):
    def verify(self, raw, secrets):
        pass


class ParsesBeforeItVerifies(GoodProvider):
    def notifications(self, raw, secrets):
        parsed = self.parse(raw.body)
        self.verify(raw, secrets)
        return parsed


class BelievesOldNotifications(GoodProvider):
    def check_age(self, received_at, stamp):
        pass


class BelievesFutureNotifications(GoodProvider):
    def check_age(self, received_at, stamp):
        if received_at - stamp > 300_000:
            raise Unauthenticated("too old")


class KnowsOnlyTheNewestSecret(GoodProvider):
    def usable(self, secrets):
        return super().usable(secrets)[:1]


class BelievesWithoutASecret(GoodProvider):
    def usable(self, secrets):
        return super().usable(secrets) or [Secret("whsec_current")]


class BreaksOnStrangeHeaders(GoodProvider):
    def verify(self, raw, secrets):
        raw.headers["signature"].encode("ascii")
        super().verify(raw, secrets)


class NamesEveryNotificationAnew(GoodProvider):
    count = 0

    def notification(self, news_id, attempt):
        self.count += 1
        return super().notification(f"{news_id}_{self.count}", attempt)


class NamesAllNotificationsAlike(GoodProvider):
    def notification(self, news_id, attempt):
        return super().notification("n", attempt)


class TellsTheSecret(GoodProvider):
    def verify(self, raw, secrets):
        try:
            super().verify(raw, secrets)
        except Unauthenticated:
            raise Unauthenticated(f"expected {[s.reveal() for s in self.usable(secrets)]}") from None


class BreaksOnSignedGarbage(GoodProvider):
    def parse(self, body):
        read = json.loads(body)
        return [self.notification(str(read["id"]), read["attempt"])]


class BelievesSignedGarbage(GoodProvider):
    def parse(self, body):
        try:
            return super().parse(body)
        except Invalid:
            return []
