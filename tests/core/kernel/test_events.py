"""Events as bytes."""

import msgspec

from interlock.core.kernel.events import Event, decode_event, encode_event, id_of


def test_id_of_an_encoded_event_is_its_id():
    event = Event("evt_1", "payment.created", "ten_1", "pay_1", 1, 0, msgspec.Raw(b'{"id":"pay_1"}'))
    assert id_of(encode_event(event)) == decode_event(encode_event(event)).id == "evt_1"


def test_bytes_that_do_not_begin_with_an_id_have_none():
    for raw in (b"", b"{}", b'{"type":"x","id":"evt_1"}', b'{"id":7}', b'{"id":"evt'):
        assert id_of(raw) == ""
