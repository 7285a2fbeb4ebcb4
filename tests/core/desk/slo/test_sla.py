"""The month's report to merchants, and how it is shown."""

import csv
import io

import pytest

from interlock.core.desk.slo.model import Counts, Measure, Ratio, ratio
from interlock.core.desk.slo.sla import EVERYONE, Agreed, SlaRow, sla_report
from interlock.core.desk.slo.views import CSV_COLUMNS, defused, report_csv, report_markdown
from interlock.core.kernel.errors import Invalid

AGREED = {EVERYONE: Agreed(ratio(995, 1000)), "ten_2": Agreed(ratio(999, 1000), ratio(95, 100))}


def report(*rows, agreed=AGREED, month="2026-11"):
    return sla_report(month, rows, agreed)


def faults(*rows, **more):
    with pytest.raises(Invalid) as refused:
        report(*rows, **more)
    return [(fault.pointer, fault.code) for fault in refused.value.faults]


def test_figure_meets_its_target_or_misses_it():
    made = report(
        SlaRow("ten_2", None, Counts(9_980, 10_000), Counts(9_600, 10_000)),
        SlaRow("ten_1", None, Counts(9_950, 10_000)),
        SlaRow("ten_3", None, Counts(0, 0)),
    )
    assert [(line.merchant, line.measure, line.verdict, line.reached) for line in made.lines] == [
        ("ten_1", Measure.AVAILABILITY, "met", Ratio(199, 200)),
        ("ten_2", Measure.AVAILABILITY, "missed", Ratio(499, 500)),
        ("ten_2", Measure.LATENCY, "met", Ratio(24, 25)),
        ("ten_3", Measure.AVAILABILITY, "no_traffic", None),
    ]
    assert [line.budget.left_share for line in made.lines] == [Ratio(0, 1), Ratio(-1, 1), Ratio(1, 5), Ratio(1, 1)]
    assert (made.merchants_missed, made.merchants_doubtful) == (("ten_2",), ())


def test_merchant_with_rows_by_provider_is_judged_by_their_sum():
    made = report(SlaRow("ten_1", "b", Counts(500, 500)), SlaRow("ten_1", "a", Counts(490, 500), Counts(1, 2)))
    assert [(line.provider, line.measure.value, line.counts, line.verdict) for line in made.lines] == [
        (None, "availability", Counts(990, 1_000), "missed"),
        (None, "latency", Counts(1, 2), ""),
        ("a", "availability", Counts(490, 500), ""),
        ("a", "latency", Counts(1, 2), ""),
        ("b", "availability", Counts(500, 500), ""),
    ]
    assert made.lines[2].budget is None


def test_row_over_all_providers_is_the_one_that_is_judged():
    made = report(SlaRow("ten_1", "a", Counts(0, 5)), SlaRow("ten_1", None, Counts(1_000, 1_000)))
    assert [(line.provider, line.verdict) for line in made.lines] == [(None, "met"), ("a", "")]


def test_figure_with_more_good_than_total_is_doubtful_and_neither_met_nor_missed():
    made = report(SlaRow("ten_1", "a", Counts(11, 10)), SlaRow("ten_1", "b", Counts(5, 10)))
    assert [line.verdict for line in made.lines] == ["doubtful", "doubtful", ""]
    assert (made.merchants_missed, made.merchants_doubtful) == ((), ("ten_1",))
    assert "Not to be sent before it is settled: ten\\_1" in report_markdown(made)


def test_report_that_cannot_be_made_names_every_fault():
    row = SlaRow("ten_9", None, Counts(1, 1))
    bad = {"ten_1": Agreed(Ratio(1, 1), Ratio(0, 1))}
    assert faults(row, row, SlaRow("", None, Counts(1, 1)), agreed=bad, month="2026-13") == [
        ("/month", "bad_month"),
        ("/rows/0/merchant", "no_target"),
        ("/rows/1", "repeated"),
        ("/rows/1/merchant", "no_target"),
        ("/rows/2/merchant", "missing"),
        ("/agreed/ten_1/availability", "target_out_of_range"),
        ("/agreed/ten_1/latency", "target_out_of_range"),
    ]


def test_markdown_shows_each_figure_and_how_many_missed():
    made = report(
        SlaRow("ten_2", None, Counts(9_980, 10_000), Counts(9_600, 10_000)), SlaRow("a|b*", "x", Counts(1, 1))
    )
    assert (
        report_markdown(made)
        == """\
# Service levels, 2026-11

2 merchants, 1 with a target missed.

| merchant | provider | measure | good | total | reached | target | | budget left |
|---|---|---|---:|---:|---:|---:|---|---:|
| a\\|b\\* | all | availability | 1 | 1 | 100.000 % | 99.500 % | met | 100.0 % |
| a\\|b\\* | x | availability | 1 | 1 | 100.000 % |  |  |  |
| ten\\_2 | all | availability | 9980 | 10000 | 99.800 % | 99.900 % | **missed** | -100.0 % |
| ten\\_2 | all | latency | 9600 | 10000 | 96.000 % | 95.000 % | met | 20.0 % |
"""
    )


def test_csv_has_a_head_and_numbers_that_stay_numbers():
    made = report(SlaRow("ten_2", None, Counts(9_980, 10_000)), SlaRow('=HYPERLINK("x")', "-1+1", Counts(0, 0)))
    rows = list(csv.reader(io.StringIO(report_csv(made))))
    assert rows == [
        list(CSV_COLUMNS),
        [
            "2026-11",
            '\'=HYPERLINK("x")',
            "",
            "availability",
            "0",
            "0",
            "",
            "99.5000",
            "no_traffic",
            "0",
            "0.00",
            "100.00",
        ],
        ["2026-11", '\'=HYPERLINK("x")', "'-1+1", "availability", "0", "0", "", "", "", "0", "", ""],
        [
            *("2026-11", "ten_2", "", "availability", "9980", "10000"),
            "99.8000",
            "99.9000",
            "missed",
            "20",
            "10.00",
            "-100.00",
        ],
    ]


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\tx", "\rx", "\nx", "＝1", "＠a", "-"]
)
def test_cell_that_a_spreadsheet_would_run_is_defused(cell):
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "ten_1", "a=b", "1-2", "'=1"])
def test_cell_that_is_only_text_stays_as_it_is(cell):
    assert defused(cell) == cell
