"""The ledger over HTTP: balances, accounts and journals. It only reads; journals are written by what they book."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Annotated

import msgspec
from msgspec import Meta

from interlock.core.kernel import ids
from interlock.core.kernel.clock import Clock, parse_rfc3339
from interlock.core.kernel.documents import Documents
from interlock.core.kernel.ids import PaymentId
from interlock.core.kernel.store import Store
from interlock.core.ledger.accounts import CHART, Account
from interlock.core.ledger.handlers import journals_of, list_accounts, read_balances
from interlock.core.ledger.projection import JOURNALS
from interlock.core.ledger.views import AccountView, BalancesView, JournalView, account_view
from interlock.entrypoints.http.pagination import Instant, ListQuery, Page, find_page, page_of
from interlock.entrypoints.http.routing import Answer, Call, Route

_ACCOUNT_ID = rf"^acc_[{''.join(line.letter for line in CHART.values())}][0-9a-hjkmnp-tv-z]{{25}}\Z"

AccountId = Annotated[str, Meta(pattern=_ACCOUNT_ID)]


class BalancesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at: Annotated[Instant | None, Meta(description="Balances as they stood at this instant, included. RFC 3339.")] = (
        None
    )


class JournalsQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    account: Annotated[AccountId | None, Meta(description="Journals that post to this account.")] = None
    payment: Annotated[PaymentId | None, Meta(description="Journals of this payment.")] = None
    day: Annotated[date | None, Meta(description="Journals of this UTC day, as YYYY-MM-DD.")] = None


def ledger_routes(store: Store, documents: Documents, clock: Clock) -> tuple[Route, ...]:
    async def get_balances(call: Call) -> Answer:
        query: BalancesQuery = call.query
        at = None if query.at is None else parse_rfc3339(query.at.isoformat())
        return Answer(200, await read_balances(store, call.principal.tenant, now=clock.now(), at=at))

    async def get_accounts(call: Call) -> Answer:
        query: ListQuery = call.query
        found = _window(await list_accounts(store, call.principal.tenant), query)
        page = page_of(found, query, cursor_of=lambda account: account.id)
        return Answer(200, Page([account_view(account) for account in page.data], page.has_more, page.next))

    async def get_journals(call: Call) -> Answer:
        query: JournalsQuery = call.query
        day = None if query.day is None else query.day.isoformat()
        where = journals_of(account=query.account, payment=query.payment, day=day)
        return await find_page(documents, JOURNALS.name, call.principal.tenant, query, where, prefix=ids.JOURNAL)

    return (
        Route(
            method="GET",
            path="/v1/balances",
            endpoint=get_balances,
            operation_id="getBalances",
            summary="Every account's balance, now or at an instant; now is a moment behind the latest commit",
            scope="ledger:read",
            query=BalancesQuery,
            answers={200: BalancesView},
            problems=(503,),
            tags=("ledger",),
        ),
        Route(
            method="GET",
            path="/v1/ledger/accounts",
            endpoint=get_accounts,
            operation_id="listAccounts",
            summary="Accounts something was posted to, by currency and code",
            scope="ledger:read",
            query=ListQuery,
            answers={200: Page[AccountView]},
            problems=(503,),
            tags=("ledger",),
        ),
        Route(
            method="GET",
            path="/v1/ledger/journals",
            endpoint=get_journals,
            operation_id="listJournals",
            summary="Journals, newest first; a moment behind the latest commit",
            scope="ledger:read",
            query=JournalsQuery,
            answers={200: Page[JournalView]},
            problems=(503,),
            tags=("ledger",),
        ),
    )


def _window(accounts: Sequence[Account], query: ListQuery) -> Sequence[Account]:
    """Up to `limit + 1` accounts next to the cursor; none for a cursor that no account here has."""
    cursor = query.after or query.before
    if cursor is None:
        return accounts[: query.limit + 1]
    place = next((i for i, account in enumerate(accounts) if account.id == cursor), None)
    if place is None:
        return ()
    if query.after is None:
        return accounts[max(place - query.limit - 1, 0) : place]
    return accounts[place + 1 : place + query.limit + 2]
