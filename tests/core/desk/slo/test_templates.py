"""The file that is shipped, as it stands and written out for an installation."""

from interlock.core.desk.slo.openslo import read_slos
from interlock.core.desk.slo.templates import written_for
from tests.core.desk.slo.objectives import DEFAULT, DOCUMENT


def test_shipped_file_is_read_as_it_stands():
    slos = {slo.name: slo for slo in read_slos(DEFAULT)}
    assert {name: (slo.indicator.measure.value, slo.target.exact()) for name, slo in slos.items()} == {
        "payments-availability": ("availability", "0.995"),
        "availability-at-simulator": ("availability", "0.995"),
        "payments-latency": ("latency", "0.95"),
        "money-in-eur": ("money", "0.999"),
    }
    assert {slo.window_days for slo in slos.values()} == {28}
    assert [slo.findings for slo in slos.values()] == [()] * 4
    assert slos["payments-latency"].indicator.filter.threshold_ms == 2_000


def test_shipped_file_is_written_out_for_each_provider_and_currency():
    slos = read_slos(written_for(DEFAULT, providers=["stripe", "acme_pay"], currencies=["EUR", "JPY"]))
    assert [slo.name for slo in slos] == [
        *("payments-availability", "availability-at-stripe", "availability-at-acme-pay", "payments-latency"),
        *("money-in-eur", "money-in-jpy"),
    ]
    assert [slo.indicator.filter.provider for slo in slos] == [None, "stripe", "acme_pay", None, None, None]
    assert [slo.indicator.filter.currency for slo in slos] == [None, None, None, None, "EUR", "JPY"]
    assert [slo.display_name for slo in slos][1:3] == ["stripe answers", "acme_pay answers"]


def test_shipped_file_without_providers_has_none_of_their_objectives():
    slos = read_slos(written_for(DEFAULT, providers=[], currencies=[]))
    assert [slo.name for slo in slos] == ["payments-availability", "payments-latency"]


def test_file_without_repeated_documents_stays_as_it_is():
    assert written_for(DOCUMENT, providers=["stripe"], currencies=["EUR"]) == DOCUMENT


def test_word_is_replaced_where_it_stands_alone_and_nowhere_else():
    document = (
        "metadata:\n  name: eur-x\n  annotations:\n    interlock.example/each-currency: EUR\n"
        "spec:\n  description: EUR in EUROPE\n"
    )
    assert written_for(document, providers=[], currencies=["JPY", "USD"]) == (
        "metadata:\n  name: jpy-x\nspec:\n  description: JPY in EUROPE\n"
        "---\nmetadata:\n  name: usd-x\nspec:\n  description: USD in EUROPE\n"
    )
