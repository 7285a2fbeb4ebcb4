"""States, schedule, signatures, URLs and addresses, traffic: the pure parts."""

from __future__ import annotations

import base64
import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from interlock.core.kernel.errors import Conflict
from interlock.core.kernel.secrets import Secret
from interlock.core.webhooks.schedule import PAUSES_S, POSTPONE_MAX_S, postpone_s, retry_pause_s
from interlock.core.webhooks.signing import new_secret, signed_headers
from interlock.core.webhooks.states import OPEN, STATUS, TRANSITIONS, DeliveryState, Trigger, after
from interlock.core.webhooks.targets import refuse_address, url_faults
from interlock.core.webhooks.traffic import AT_ONCE_MAX, FAILURES_BEFORE_PROBING, Traffic


def _words(text: str) -> list[str]:
    return text.split()


# -- states -------------------------------------------------------------------------------------------------------------


def test_every_state_and_trigger_either_has_a_following_state_or_is_a_conflict():
    for state, trigger in itertools.product(DeliveryState, Trigger):
        if (state, trigger) in TRANSITIONS:
            assert after(state, trigger) is TRANSITIONS[state, trigger]
        else:
            with pytest.raises(Conflict):
                after(state, trigger)


def test_every_state_can_be_reached_and_left_and_has_a_status():
    assert {*TRANSITIONS.values()} == {*DeliveryState} == {state for state, _ in TRANSITIONS} == {*STATUS}
    assert {trigger for _, trigger in TRANSITIONS} == {*Trigger}


def test_a_finished_delivery_is_opened_again_only_by_hand():
    leaving = {trigger for state, trigger in TRANSITIONS if state not in OPEN}
    assert leaving == {Trigger.REQUESTED}


# -- schedule -----------------------------------------------------------------------------------------------------------


def test_schedule_ends_after_twelve_attempts_and_about_75_hours():
    for random, hours in ((0.0, 70.7), (0.5, 75.0), (0.999, 79.2)):
        pauses = [retry_pause_s(tries, random=random) for tries in range(1, 12)]
        assert sum(pauses) / 3600 == pytest.approx(hours, abs=0.1)
        assert retry_pause_s(12, random=random) is None
    assert [retry_pause_s(tries, random=0.0) for tries in range(1, 12)] == list(PAUSES_S)
    assert PAUSES_S[:5] == (5, 30, 120, 600, 1800)


@given(
    tries=st.integers(1, 11),
    random=st.floats(0, 1, exclude_max=True),
    asked=st.one_of(st.none(), st.floats(0, 1e12, allow_nan=False)),
)
def test_pause_is_never_shorter_than_planned_nor_longer_than_the_bound(tries, random, asked):
    pause = retry_pause_s(tries, random=random, retry_after_s=asked)
    assert PAUSES_S[tries - 1] <= pause <= 24 * 3600 * 1.12
    if asked is not None and asked <= 24 * 3600:
        assert pause >= asked


@given(postponed=st.integers(0, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_standing_back_grows_to_a_bound(postponed, random):
    assert 0.5 <= postpone_s(postponed, random=random) <= POSTPONE_MAX_S


# -- signatures ---------------------------------------------------------------------------------------------------------


def test_signature_is_the_one_of_the_published_example():
    # Source: the examples of https://github.com/standard-webhooks/standard-webhooks (checked 2026-11-21)
    headers = signed_headers(
        [Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        at=1614265330_999,
        body=b'{"test": 2432232314}',
    )
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_official_verifier_accepts_each_secret_of_a_rotation_and_refuses_a_changed_body():
    now = int(datetime.now(tz=UTC).timestamp() * 1000)
    old, new = new_secret(lambda n: b"a" * n), new_secret(lambda n: b"b" * n)
    body = '{"id":"evt_1","name":"Zoë"}'.encode()
    headers = signed_headers([new, old], message_id="evt_1", at=now, body=body)
    for secret in (old, new):
        assert Webhook(secret.reveal()).verify(body, headers) == {"id": "evt_1", "name": "Zoë"}
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(secret.reveal()).verify(body + b" ", headers)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook("whsec_" + base64.b64encode(b"c" * 32).decode()).verify(body, headers)


# -- addresses ----------------------------------------------------------------------------------------------------------

REFUSED = _words("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.8.8.8 168.63.129.16
169.254.169.254 169.254.0.1 172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.7 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1
::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:10.0.0.1 64:ff9b::a9fe:a9fe
64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b:1::8.8.8.8 100::1 2001::1 2001:0:1::1 2001:10::1 2001:db8::1
2002:7f00:1:: 2002:a9fe:a9fe::1 2002:0808:0808::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0
2a00::1%eth0 fec0::1 ff02::1 ff0e::1 4000::1
""")
ALLOWED = _words("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 168.63.129.17
169.253.255.255 169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255
198.20.0.1 223.255.255.255 2606:4700::1111 2a00:1450::1 2001:200::1 2001:4860:4860::8888 ::ffff:8.8.8.8
64:ff9b::8.8.8.8
""")


@pytest.mark.parametrize("address", REFUSED)
def test_address_that_is_not_public_is_refused(address):
    assert refuse_address(address, allow_loopback=False) is not None


@pytest.mark.parametrize("address", ALLOWED)
def test_public_address_is_allowed(address):
    assert refuse_address(address, allow_loopback=False) is None


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "1.2.3.4.5", "[::1]", "１.1.1.1"]
)
def test_what_is_not_an_address_is_refused(text):
    assert refuse_address(text, allow_loopback=True) is not None


def test_local_mode_allows_loopback_and_nothing_else_beside_public_addresses():
    loopback = {address for address in REFUSED if refuse_address(address, allow_loopback=True) is None}
    assert loopback == {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"}
    assert all(refuse_address(address, allow_loopback=True) is None for address in ALLOWED)


# -- URLs ---------------------------------------------------------------------------------------------------------------

GOOD_URLS = _words("""
https://shop.example.com https://shop.example.com/ https://shop.example.com/hooks?shop=1&x=%20
https://shop.example.com:443/ https://shop.example.com:8443/hooks https://8.8.8.8/ https://[2606:4700::1111]:8443/
https://xn--bcher-kva.example/ https://a_b.example.com/ HTTPS://Shop.Example.COM/ https://shop.example.com./
https://1.example.com/
""")
BAD_URLS = [
    ("", "bad_format"),
    ("shop.example.com", "bad_format"),
    ("//shop.example.com/", "bad_format"),
    ("ftp://shop.example.com/", "bad_format"),
    ("file:///etc/passwd", "bad_format"),
    ("javascript:alert(1)", "bad_format"),
    ("gopher://shop.example.com/", "bad_format"),
    ("https://", "bad_format"),
    ("https:///path", "bad_format"),
    ("https://shop.example.com/ x", "bad_format"),
    ("https://shop.example.com/\r\nHost: x", "bad_format"),
    ("https://shop.example.com/\t", "bad_format"),
    ("https://shop.example.com\\@evil.example/", "bad_format"),
    ("https://bücher.example/", "bad_format"),
    ("https://shop.example.com/#top", "bad_format"),
    ("https://shop.example.com/#", "bad_format"),
    ("https://shop..example.com/", "bad_format"),
    ("https://-shop.example.com/", "bad_format"),
    ("https://" + "a" * 64 + ".example.com/", "bad_format"),
    ("https://sh%6Fp.example.com/", "bad_format"),
    ("https://[::1", "bad_format"),
    ("https://shop.example.com:99999/", "bad_format"),
    ("https://shop.example.com:x/", "bad_format"),
    ("https://shop.example.com:0/", "bad_port"),
    ("https://shop.example.com:22/", "bad_port"),
    ("https://shop.example.com:25/", "bad_port"),
    ("https://shop.example.com:80/", "bad_port"),
    ("https://user@shop.example.com/", "credentials"),
    ("https://user:pass@shop.example.com/", "credentials"),
    ("https://@shop.example.com/", "credentials"),
    ("http://shop.example.com/", "not_https"),
    ("https://localhost/", "forbidden_address"),
    ("https://LOCALHOST./", "forbidden_address"),
    ("https://foo.localhost/", "forbidden_address"),
    ("https://intranet/", "forbidden_address"),
    ("https://127.0.0.1/", "forbidden_address"),
    ("https://127.1/", "forbidden_address"),
    ("https://2130706433/", "forbidden_address"),
    ("https://0x7f000001/", "forbidden_address"),
    ("https://0x7f.0.0.1/", "forbidden_address"),
    ("https://0177.0.0.1/", "forbidden_address"),
    ("https://127.0.0.1./", "forbidden_address"),
    ("https://169.254.169.254/latest/meta-data/", "forbidden_address"),
    ("https://[::1]/", "forbidden_address"),
    ("https://[::ffff:169.254.169.254]/", "forbidden_address"),
    ("https://[fe80::1%25eth0]/", "forbidden_address"),
    ("https://[64:ff9b::a00:1]/", "forbidden_address"),
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_good_url_is_taken(url):
    assert url_faults(url, allow_loopback=False) == ()


@pytest.mark.parametrize(("url", "code"), BAD_URLS)
def test_bad_url_is_refused_with_its_reason(url, code):
    [fault] = url_faults(url, allow_loopback=False)
    assert (fault.pointer, fault.code) == ("/url", code)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:80/", "http://localhost:9999/x", "http://[::1]:1/", "https://localhost/", "http://127.0.0.2/"],
)
def test_local_mode_takes_loopback_over_plain_http_and_any_port(url):
    assert url_faults(url, allow_loopback=True) == ()
    assert url_faults(url, allow_loopback=False) != ()


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/",
        "https://10.0.0.1/",
        "http://169.254.169.254/",
        "https://user@localhost/",
        "http://localhost:0/",
    ],
)
def test_local_mode_takes_nothing_else(url):
    assert url_faults(url, allow_loopback=True) != ()


@given(st.text(max_size=60))
def test_no_text_breaks_the_check_of_urls(text):
    url_faults(text, allow_loopback=False)
    url_faults("https://" + text, allow_loopback=False)


# -- traffic ------------------------------------------------------------------------------------------------------------


def test_endpoint_has_so_many_requests_under_way_and_no_more():
    traffic = Traffic()
    assert [traffic.enter("whe_a") for _ in range(AT_ONCE_MAX + 2)] == [True] * AT_ONCE_MAX + [False] * 2
    assert traffic.enter("whe_b")
    traffic.leave("whe_a", succeeded=True)
    assert traffic.enter("whe_a")
    assert not traffic.enter("whe_a")


def test_failing_endpoint_is_probed_one_at_a_time_until_a_success():
    traffic = Traffic()
    for _ in range(FAILURES_BEFORE_PROBING):
        assert not traffic.is_failing("whe_a")
        assert traffic.enter("whe_a")
        traffic.leave("whe_a", succeeded=False)
    assert traffic.is_failing("whe_a")
    assert [traffic.enter("whe_a"), traffic.enter("whe_a")] == [True, False]
    traffic.leave("whe_a", succeeded=None)
    assert traffic.is_failing("whe_a")
    assert traffic.enter("whe_a")
    traffic.leave("whe_a", succeeded=True)
    assert [traffic.enter("whe_a"), traffic.enter("whe_a")] == [True, True]


def test_endpoints_at_rest_take_no_memory():
    traffic = Traffic()
    for n in range(100):
        traffic.enter(f"whe_{n}")
        traffic.leave(f"whe_{n}", succeeded=True)
    assert traffic._loads == {}
