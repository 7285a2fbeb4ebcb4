"""Questions the ledger answers on a request path. None of them writes, and none reads more than it shows or one day."""

from __future__ import annotations

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.documents import Scalar
from interlock.core.kernel.errors import Fault, Invalid
from interlock.core.kernel.store import Store
from interlock.core.ledger.accounts import Account, account, line_of_id
from interlock.core.ledger.projection import balances
from interlock.core.ledger.views import BalancesView, balance_view, time_view


async def read_balances(store: Store, tenant: str, *, now: Millis, at: Millis | None = None) -> BalancesView:
    """The tenant's balances, now or at an instant. An instant that has not come yet is answered as of `now`."""
    totals, as_of = await balances(store, tenant, None if at is None else min(max(at, 0), now))
    views = [balance_view(account(tenant, code, currency), sums) for currency, code, sums in totals]
    return BalancesView("balances", time_view(as_of), views)


async def list_accounts(store: Store, tenant: str) -> list[Account]:
    """Accounts something was ever posted to, ordered by currency and code. (All others exist too, and are empty.)"""
    totals, _ = await balances(store, tenant)
    return [account(tenant, code, currency) for currency, code, _ in totals]


def journals_of(
    *, account: str | None = None, payment: str | None = None, day: str | None = None
) -> dict[str, Scalar | None]:
    """The filter for the read model of journals. Raises Invalid for an account id that no account can have."""
    where: dict[str, Scalar | None] = {"payment": payment, "day": day}
    if account is not None:
        line = line_of_id(account)
        if line is None:
            raise Invalid(faults=(Fault("/query/account", "unknown_account", "no account can have this id"),))
        where[line.code] = account
    return where
