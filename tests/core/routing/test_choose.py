"""Which provider next, and why: every rule of the choice."""

import pytest

from interlock.core.kernel.providers import Action, Capabilities
from interlock.core.routing.model import Refusal, Rule, Wanted, choose

CARD_EUR = Wanted(Action.AUTHORIZE, "card", "EUR")


class Providers:
    """Three of them, in the order of the settings."""

    def __init__(self, *, unwell=(), **limits):
        self.unwell, self.limits = unwell, limits

    def names(self):
        return ["a", "b", "c"]

    def capabilities(self, provider):
        fields = {"actions": frozenset(Action), "methods": frozenset({"card"}), "currencies": None}
        return Capabilities(**fields | self.limits.get(provider, {}))

    def is_available(self, provider):
        return provider not in self.unwell


def pick(wanted=CARD_EUR, *, rules=None, tried=(), **providers):
    found = {rule.name: rule for rule in rules or ()}
    return choose(wanted, rules=found, roster=Providers(**providers), tried=tried)


def test_without_a_rule_the_first_of_the_settings_is_taken_and_the_reason_says_so():
    assert pick() == ("a", "order of the settings, position 1 of 3", ())


def test_the_default_rule_takes_the_place_of_the_settings():
    choice = pick(rules=[Rule("default", ("c", "a"))])
    assert (choice.provider, choice.reason) == ("c", "rule default, position 1 of 2")


def test_a_named_rule_takes_the_place_of_the_default_one():
    rules = [Rule("default", ("a",)), Rule("cheap", ("b", "c"))]
    assert pick(CARD_EUR._replace(rule="cheap"), rules=rules).provider == "b"


def test_a_provider_that_was_tried_is_passed_over_and_named():
    choice = pick(tried=["a"])
    assert choice == ("b", "order of the settings, position 2 of 3", (Refusal("a", "already tried"),))


def test_nobody_outside_the_rule_is_chosen_when_it_is_used_up():
    choice = pick(CARD_EUR._replace(rule="cheap"), rules=[Rule("cheap", ("b", "c"))], tried=["b", "c"])
    assert choice.provider is None
    assert choice.reason == "rule cheap; no provider left"


def test_a_rule_that_is_gone_leaves_nobody():
    """A payment that was to stay within a rule must not slip out of it because the rule was deleted meanwhile."""
    choice = pick(CARD_EUR._replace(rule="cheap"), tried=["b"])
    assert choice.provider is None
    assert "cheap" in choice.reason


def test_the_default_rule_may_be_asked_for_by_name_whether_it_is_stored_or_not():
    assert pick(CARD_EUR._replace(rule="default")).provider == "a"
    assert pick(CARD_EUR._replace(rule="default"), rules=[Rule("default", ("c",))]).provider == "c"


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"actions": frozenset({Action.REFUND})}, "cannot authorize"),
        ({"methods": frozenset({"transfer"})}, "does not take card"),
        ({"currencies": frozenset({"USD"})}, "does not take EUR"),
        ({"currencies": frozenset()}, "does not take EUR"),
    ],
)
def test_a_provider_that_cannot_is_passed_over_with_the_reason(limits, why):
    choice = pick(a=limits)
    assert (choice.provider, choice.passed_over) == ("b", (Refusal("a", why),))


def test_a_currency_among_those_taken_is_no_obstacle():
    assert pick(a={"currencies": frozenset({"EUR", "USD"})}).provider == "a"


def test_a_provider_of_a_rule_that_is_no_longer_configured_is_passed_over():
    choice = pick(rules=[Rule("default", ("gone", "b"))])
    assert (choice.provider, choice.passed_over) == ("b", (Refusal("gone", "not configured"),))


def test_an_open_breaker_is_passed_over_while_there_is_another():
    choice = pick(unwell=("a",))
    assert (choice.provider, choice.passed_over) == ("b", (Refusal("a", "breaker open"),))


def test_when_every_able_breaker_is_open_the_first_able_one_is_named():
    choice = pick(unwell=("a", "b", "c"), a={"currencies": frozenset({"USD"})})
    assert choice.provider == "b"
    assert choice.reason == "order of the settings; every able provider's breaker is open"
    assert [refusal.provider for refusal in choice.passed_over] == ["a", "b", "c"]


def test_after_a_first_try_nobody_with_an_open_breaker_is_named():
    assert pick(unwell=("b", "c"), tried=["a"]).provider is None


def test_a_pinned_provider_is_the_only_candidate():
    assert pick(CARD_EUR._replace(provider="c")) == ("c", "asked for by the request, position 1 of 1", ())
    assert pick(CARD_EUR._replace(provider="c"), tried=["c"]).provider is None
    assert pick(CARD_EUR._replace(provider="c"), unwell=("c",)).provider == "c"
    refused = pick(CARD_EUR._replace(provider="c"), c={"currencies": frozenset({"USD"})})
    assert (refused.provider, refused.passed_over) == (None, (Refusal("c", "does not take EUR"),))


def test_a_pinned_provider_nobody_configured_is_refused():
    assert pick(CARD_EUR._replace(provider="zzz")).passed_over == (Refusal("zzz", "not configured"),)


def test_a_pin_goes_before_a_rule():
    choice = pick(CARD_EUR._replace(provider="a", rule="cheap"), rules=[Rule("cheap", ("b",))])
    assert choice.provider == "a"
