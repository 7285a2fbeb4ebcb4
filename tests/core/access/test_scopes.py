"""What a scope word grants, and what happens without one."""

from collections import namedtuple

import pytest

from interlock.core.access.scopes import SCOPES, expand, known, require_scope, scope_text
from interlock.core.kernel.errors import Forbidden, Invalid

Caller = namedtuple("Caller", "scopes")


@pytest.mark.parametrize(
    ("words", "granted"),
    [
        (["payments:read"], {"payments:read"}),
        (["payments:*"], {"payments:read", "payments:write"}),
        (["refunds:*"], {"refunds:write"}),
        (["ledger:*", "ledger:read"], {"ledger:read"}),
        (["desk:*", "routing:read"], {"desk:read", "desk:write", "desk:approve", "routing:read"}),
        ([], set()),
    ],
)
def test_words_expand_to_exactly_their_scopes(words, granted):
    assert expand(words) == granted


@pytest.mark.parametrize(
    "word", ["*", "*:*", "payments", "payments:", "payments:delete", "refunds:read", "", "Payments:read"]
)
def test_unknown_word_is_refused_by_its_place(word):
    with pytest.raises(Invalid) as refused:
        expand(["payments:read", word])
    assert [fault.pointer for fault in refused.value.faults] == ["/scopes/1"]


def test_foreign_words_mean_nothing():
    assert known(["openid", "payments:read", "*", "webhooks:*"]) == {"payments:read", "webhooks:read", "webhooks:write"}


def test_every_scope_of_the_contract_is_there_once_and_in_order():
    assert len(set(SCOPES)) == len(SCOPES) == 17
    assert scope_text(reversed(SCOPES)) == " ".join(SCOPES)


def test_caller_without_the_scope_is_forbidden_and_told_which():
    require_scope(Caller(frozenset({"payments:write"})), "payments:write")
    with pytest.raises(Forbidden) as refused:
        require_scope(Caller(frozenset({"payments:write"})), "payments:read")
    assert (refused.value.scope, refused.value.reason) == ("payments:read", "insufficient_scope")


def test_requiring_a_scope_that_does_not_exist_is_our_own_fault():
    with pytest.raises(KeyError):
        require_scope(Caller(frozenset(SCOPES)), "payments:*")
