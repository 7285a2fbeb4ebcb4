"""Signing in, staying in, and who may. Whatever changes who may do what is audited in the same commit."""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec.structs import replace

from interlock.core.access.audit import PLATFORM, audit_event
from interlock.core.desk.operators.model import (
    OPERATOR_NAME,
    PASSWORD_MAX,
    PASSWORD_MIN,
    SEEN_EVERY,
    Operator,
    Session,
)
from interlock.core.desk.operators.passwords import NOBODY, SALT_BYTES, is_right
from interlock.core.desk.operators.ports import Operators
from interlock.core.desk.operators.records import (
    find_operator,
    find_session,
    operator_write,
    session_key,
    session_write,
)
from interlock.core.desk.operators.refusals import ON_RECORD
from interlock.core.desk.operators.roles import DANGEROUS, Permission, Role, require
from interlock.core.desk.operators.tries import count_proof, count_sign_in
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import (
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    WriteConflict,
)
from interlock.core.kernel.store import ABSENT, Delete, Key

COOKIE_BYTES = 32
COOKIE_CHARS = 2 * COOKIE_BYTES
SOMEBODY = "somebody"
"""On record, for a name that is nobody's: strangers choose those, and one may be a password in the wrong box."""


class SignedIn(NamedTuple):
    """A session as its requests know it."""

    session: Session
    key: Key
    version: int

    def may(self, permission: Permission) -> bool:
        try:
            require(self.session.role, permission)
        except Forbidden:
            return False
        return True


async def add_operator(
    o: Operators, *, name: str, role: Role, password: str, actor: str, replace_existing: bool = False
) -> Operator:
    """A new operator, or a new password and role for one that is there. An empty password: they sign in at an issuer.

    What was open under the name before is over.

    Raises Invalid for a password that is too short, or a name that is taken or could be somebody's from elsewhere.
    """
    if _is_name(name) is None:
        detail = "a name begins with a letter or digit and has letters, digits and . _ @ + - alone, 100 at most"
        raise Invalid(faults=(Fault("/name", "malformed", detail),))
    if password and not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        detail = f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters"
        raise Invalid(faults=(Fault("/password", "bad_length", detail),))
    known = await find_operator(o.store, name)
    if known is not None and not replace_existing:
        raise Invalid(faults=(Fault("/name", "taken", "an operator of this name is there"),))
    now = o.clock.now()
    salt = o.token_bytes(SALT_BYTES).hex()
    operator = Operator(name, role, now, salt, await o.digest_of(password, salt) if password else "")
    action = "operator.replaced" if known else "operator.created"
    put, event = audit_event(
        o.ids, now, actor=actor, action=action, target=name, tenant=PLATFORM, detail={"role": role}
    )
    await o.store.commit([operator_write(operator, known[1] if known else ABSENT), put], [event])
    return operator


async def disable_operator(o: Operators, *, name: str, actor: str) -> None:
    """Their sessions end with their next request. Safe to repeat. Raises NotFound."""
    known = await find_operator(o.store, name)
    if known is None:
        raise NotFound("no such operator")
    operator, version = known
    if operator.disabled_at is not None:
        return
    now = o.clock.now()
    put, event = audit_event(o.ids, now, actor=actor, action="operator.disabled", target=name, tenant=PLATFORM)
    await o.store.commit([operator_write(replace(operator, disabled_at=now), version), put], [event])


async def sign_in(o: Operators, *, name: str, password: str, address: str) -> str:
    """The cookie of a new session. `address`: where it is asked from.

    Raises Unauthenticated, RateLimited for who tries too often, Unavailable when too many do at once.
    """
    if not o.passwords:
        raise _off()
    count_sign_in(o, name, address)
    operator = await _proved(o, name, password)
    return await _open(o, operator.name, operator.role, stepped_up_at=o.clock.now(), salt=operator.salt)


async def sign_in_by_issuer(
    o: Operators, *, name: str, role: Role, issuer: str, subject: str, authenticated_at: Millis | None
) -> str:
    """The same, for who an issuer has vouched for. `authenticated_at`: when they proved themselves there; None: unknown."""
    at = min(authenticated_at or 0, o.clock.now())
    return await _open(o, name, role, stepped_up_at=at, issuer=issuer, subject=subject)


async def _open(
    o: Operators, name: str, role: Role, *, stepped_up_at: Millis, issuer: str = "", subject: str = "", salt: str = ""
) -> str:
    now, cookie = o.clock.now(), o.token_bytes(COOKIE_BYTES).hex()
    session = Session(name, role, o.token_bytes(COOKIE_BYTES).hex(), now, now, stepped_up_at, issuer, subject, salt)
    detail = {"issuer": issuer} | ({"subject": subject, "role": role} if issuer else {})
    put, event = audit_event(
        o.ids, now, actor=name, action="operator.signed_in", target=name, tenant=PLATFORM, detail=detail
    )
    await o.store.commit([session_write(session_key(cookie), session), put], [event])
    return cookie


async def put_refusal_on_record(o: Operators, *, name: str, reason: str, issuer: str = "") -> None:
    """Somebody was not let in. Of each name the first in an hour, with how many were counted only since the one before."""
    counted = o.refusals.count(name, o.clock.now())
    if counted is None or not o.limiter.take("refusals", o.clock.monotonic(), ON_RECORD).allowed:
        return
    put, event = audit_event(
        o.ids, o.clock.now(), actor=name, action="operator.refused", target=name, tenant=PLATFORM,
        detail={"issuer": issuer, "reason": reason, "counted_since": counted},
    )  # fmt: skip
    await o.store.commit([put], [event])


async def recognise(o: Operators, cookie: str) -> SignedIn:
    """Whose cookie it is. Raises Unauthenticated when the session is over, or its operator may no longer work here."""
    if len(cookie) != COOKIE_CHARS:
        raise Unauthenticated("sign in", code="no_session")
    key, now = session_key(cookie), o.clock.now()
    found = await find_session(o.store, key)
    if found is None or found[0].ends_at() <= now:
        raise Unauthenticated("sign in", code="session_over")
    session, version = found
    if session.issuer != (o.at_issuer.trusted.issuer if session.issuer and o.at_issuer else ""):
        raise Unauthenticated("sign in", code="session_over")  # of an issuer that is not trusted any more
    if not session.issuer:
        if not o.passwords:
            raise Unauthenticated("sign in", code="session_over")
        known = await find_operator(o.store, session.operator)
        if known is None or not _opened_by(known[0], session):
            raise Unauthenticated("sign in", code="session_over")
    if now - session.seen_at >= SEEN_EVERY:
        session = replace(session, seen_at=now)
        try:
            await o.store.commit([session_write(key, session, version)])
            version += 1
        except WriteConflict:
            pass  # another request of the same browser was faster
    return SignedIn(session, key, version)


async def step_up(o: Operators, who: SignedIn, password: str) -> None:
    """Prove once more who is there. Raises Unauthenticated, Unavailable; Forbidden for who signed in at an issuer."""
    if who.session.issuer:
        raise Forbidden("prove it where you signed in", code="at_issuer")
    if not o.passwords:
        raise _off()
    count_proof(o, who.key)
    operator = await _proved(o, who.session.operator, password)
    found = await find_session(o.store, who.key)
    if found is None or not _opened_by(operator, found[0]):
        raise Unauthenticated("sign in", code="session_over")
    await keep_proof(o, who.key, *found)


async def keep_proof(o: Operators, key: Key, session: Session, version: int) -> None:
    """From now on, for ten minutes, dangerous things may be done in that session."""
    now = o.clock.now()
    put, event = audit_event(
        o.ids, now, actor=session.operator, action="operator.proved", target=session.operator, tenant=PLATFORM,
        detail={"issuer": session.issuer},
    )  # fmt: skip
    await o.store.commit([session_write(key, replace(session, stepped_up_at=now), version), put], [event])


async def sign_out(o: Operators, who: SignedIn) -> None:
    """Safe to repeat."""
    found = await find_session(o.store, who.key)
    if found is not None:
        try:
            await o.store.commit([Delete(who.key, found[1])])
        except WriteConflict:
            await sign_out(o, who)


def allow(o: Operators, who: SignedIn, permission: Permission) -> None:
    """Raises Forbidden: the role is too low (`role_too_low`), or the person must prove themselves (`step_up`)."""
    require(who.session.role, permission)
    if permission in DANGEROUS and not who.session.is_stepped_up(o.clock.now()):
        raise Forbidden("prove that it is you, once more", code="step_up")


def _opened_by(operator: Operator, session: Session) -> bool:
    """Whether they are still who opened it: in the same role, with the same password, and let in."""
    return operator.disabled_at is None and (operator.role, operator.salt) == (session.role, session.salt)


def _off() -> Forbidden:
    return Forbidden("people sign in elsewhere", code="passwords_off")


async def _proved(o: Operators, name: str, password: str) -> Operator:
    known = await find_operator(o.store, name) if 0 < len(name) <= 100 and "\0" not in name else None
    operator = known[0] if known else None
    found = await o.digest_of(password[:PASSWORD_MAX], operator.salt if operator and operator.salt else NOBODY)
    right = is_right(found, operator.digest if operator else "")
    if operator is None or not right or operator.disabled_at is not None:
        # The same for who is there and who is not.
        await put_refusal_on_record(o, name=operator.name if operator else SOMEBODY, reason="bad_credentials")
        raise Unauthenticated("name or password is wrong", code="bad_credentials")
    return operator


_is_name = re.compile(OPERATOR_NAME).fullmatch
