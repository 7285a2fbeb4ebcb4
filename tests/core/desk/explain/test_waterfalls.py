"""Spans of a trace, drawn below each other."""

from __future__ import annotations

from interlock.core.desk.explain.model import SpanView
from interlock.core.desk.explain.views import APART_US, DEPTH_MAX, NARROWEST, waterfalls


def span(name: str, start_us: int, duration_us: int, *, trace: str = "t", parent: str = "") -> SpanView:
    return SpanView("", name, trace, name, parent, start_us, duration_us, "", {})


def test_spans_of_a_trace_stand_below_each_other_by_their_time():
    (fall,) = waterfalls([span("call", 1_250, 500, parent="request"), span("request", 1_000, 1_000)])
    assert fall.duration_us == 1_000
    assert [(bar.span.name, bar.depth, bar.left, bar.width) for bar in fall.bars] == [
        ("request", 0, 0.0, 100.0),
        ("call", 1, 25.0, 50.0),
    ]


def test_each_trace_has_a_waterfall_of_its_own_in_the_order_of_their_beginnings():
    found = waterfalls([span("b", 2_000, 10, trace="second"), span("a", 1_000, 10, trace="first")])
    assert [(fall.trace, len(fall.bars)) for fall in found] == [("first", 1), ("second", 1)]


def test_what_of_a_trace_came_much_later_is_drawn_apart():
    found = waterfalls([span("request", 0, 1_000), span("webhook", 1_001 + APART_US, 500, parent="request")])
    assert [[bar.span.name for bar in fall.bars] for fall in found] == [["request"], ["webhook"]]
    assert [fall.bars[0].depth for fall in found] == [0, 0]
    (whole,) = waterfalls([span("request", 0, 1_000), span("webhook", 1_000 + APART_US, 500)])
    assert len(whole.bars) == 2


def test_what_took_no_time_is_seen_and_nothing_is_drawn_beyond_the_edge():
    (fall,) = waterfalls([span("request", 0, 1_000_000), span("end", 1_000_000, 0, parent="request")])
    end = fall.bars[1]
    assert (end.width, end.left + end.width) == (NARROWEST, 100.0)
    (alone,) = waterfalls([span("nothing", 5, 0)])
    assert alone.bars[0].left + alone.bars[0].width <= 100


def test_spans_that_are_each_others_parents_end_the_search():
    (fall,) = waterfalls([span("a", 0, 1, parent="b"), span("b", 0, 1, parent="a")])
    assert [bar.depth for bar in fall.bars] == [DEPTH_MAX, DEPTH_MAX]


def test_nothing_is_no_waterfall():
    assert waterfalls([]) == []
