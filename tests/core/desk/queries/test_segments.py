"""Names of segments, and which of them have to be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.desk.queries.segments import (
    Segment,
    decode_manifest,
    encode_manifest,
    manifest_of,
    merged_of,
    parse,
    segment_of,
    standing,
    unread,
)
from interlock.core.kernel.blobs import check_key
from interlock.core.kernel.events import Event

DAY = "2027-01-15"


def events(*numbers):
    return [Event(f"evt_{number:026d}", "client.created", "ten_1", "cli_1", 1, 0) for number in numbers]


def keys(*numbers):
    return [segment_of("events", DAY, events(number)).key for number in numbers]


def merged(*listed):
    """Key of the merged segment and its manifest's, ready to add."""
    segment = merged_of("events", DAY, listed)
    return segment.key, manifest_of(segment).key


def test_segment_is_named_by_first_last_and_count_and_can_be_a_blob():
    key = segment_of("events", DAY, events(3, 1, 2)).key
    assert key.startswith(f"desk/exports/events/{DAY}/evt_{1:026d}-evt_{3:026d}-3-")
    check_key(key)
    assert parse(key).key == key


def test_same_batch_in_any_order_is_the_same_segment_and_another_one_never_is():
    assert segment_of("events", DAY, events(1, 2, 3, 4)) == segment_of("events", DAY, events(4, 3, 2, 1, 1))
    # First, last and count agree, and yet something else is in it.
    assert segment_of("events", DAY, events(1, 2, 4)) != segment_of("events", DAY, events(1, 3, 4))


@pytest.mark.parametrize(
    "key",
    [
        "desk/exports/events/2027-01-15/x.csv",
        "desk/exports/passwords/2027-01-15/x.parquet",
        "desk/exports/events/x.parquet",
        "other/events/2027-01-15/x.parquet",
        "desk/exports/events/2027-01-15/../x.parquet",
    ],
)
def test_other_keys_are_no_segments(key):
    assert parse(key) is None
    assert standing([key], {}) == []


def test_merged_segment_stands_for_those_it_lists_once_its_manifest_is_there():
    a, b, c = keys(1, 2, 3)
    whole, manifest = merged(a, b)
    assert standing([a, b, c, whole], {}) == sorted([a, b, c])
    assert standing([a, b, c, whole, manifest], {manifest: [a, b]}) == sorted([c, whole])


def test_segments_merged_again_are_taken_in_too():
    a, b, c = keys(1, 2, 3)
    first, first_manifest = merged(a, b)
    second, second_manifest = merged(first, c)
    listed = {first_manifest: [a, b], second_manifest: [first, c]}
    assert standing([a, b, c, first, second], listed) == [second]
    assert unread([a, b, c, first, second], listed, []) == [second]
    assert unread([a, b, c, first, second], listed, [a, b, c]) == []
    assert unread([a, b, c, first, second], listed, [a, b]) == [second]


def test_manifest_comes_back_as_it_went_sorted():
    assert decode_manifest(encode_manifest(["b", "a"])) == ["a", "b"]
    with pytest.raises(ValueError, match="Expected"):
        decode_manifest(b"{}")


def test_merging_the_same_segments_makes_the_same_name():
    a, b = keys(1, 2)
    assert merged(a, b) == merged(b, a)
    assert Segment("events", DAY, "merged-x", ".parquet").is_merged


@given(st.data())
def test_whatever_was_merged_and_read_nothing_is_missed_and_nothing_is_read_twice_for_nothing(data):
    """Leaves are merged at random, again and again; a reader has read some of what there is."""
    leaves = keys(*range(8))
    there, listed, inside = set(leaves), {}, {key: {key} for key in leaves}
    for _ in range(data.draw(st.integers(0, 4))):
        now = standing(there, listed)
        chosen = data.draw(st.lists(st.sampled_from(now), min_size=min(2, len(now)), unique=True))
        if len(chosen) < 2:
            break
        whole, manifest = merged(*chosen)
        there |= {whole, manifest}
        listed[manifest] = chosen
        inside[whole] = set().union(*(inside[key] for key in chosen))
    assert set().union(*(inside[key] for key in standing(there, listed))) == set(leaves)
    read = set(data.draw(st.lists(st.sampled_from(leaves), unique=True)))
    left = unread(there, listed, read)
    assert read | set().union(*(inside[key] for key in left)) == set(leaves)
    assert all(inside[key] - read for key in left)
