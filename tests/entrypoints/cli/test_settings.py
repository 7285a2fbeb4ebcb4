"""Settings that are handed on: to a process we start, to the parts of the platform."""

import io
import json

import pytest

from interlock.bootstrap import open_platform, open_storage
from interlock.config import IssuerSettings, ProviderSettings, Settings, SettingsError, SignInSettings


def test_settings_handed_on_by_the_environment_arrive_unchanged():
    for settings in (
        Settings(),
        Settings(
            data='/a folder/with "quotes"',
            port=0,
            base_url="https://pay.example.com",
            providers=(
                ProviderSettings("simulator", "simulator", "http://127.0.0.1:1", 0.5, 1.0, 1.5),
                ProviderSettings("stripe", "stripe", "https://api.stripe.com"),
            ),
            external_issuer=IssuerSettings("https://issuer", "https://issuer/jwks", "aud", "t"),
            sign_in=SignInSettings(
                "https://login.example.com", "desk", {"a b": "lead"}, "realm.roles", "Example", ("openid",), False
            ),
            attempt_deadline_s=41.5,
            trusted_proxies=("10.0.0.0/8", "::1"),
            webhook_allow_loopback=True,
            log_level="debug",
        ),
    ):
        assert Settings.load(file=None, environment=settings.as_environment()) == settings


@pytest.mark.parametrize("proxy", ["", "*", "proxy.example.com", "10.0.0.1/8"])
def test_proxy_that_is_no_address_and_no_network_is_refused(proxy):
    with pytest.raises(SettingsError, match="trusted_proxies: "):
        Settings.load(file=None, environment={"INTERLOCK_TRUSTED_PROXIES": json.dumps([proxy])})


async def test_payment_left_in_a_lookup_by_a_killed_worker_waits_no_longer_than_an_attempt_may_take(tmp_path):
    settings = Settings(data=str(tmp_path), attempt_deadline_s=3.0)
    platform = await open_platform(settings, open_storage(settings, log=io.BytesIO()), issuer="http://127.0.0.1")
    assert platform.payments.timing.lease_ms == platform.payments.timing.attempt_ms == 3_000
    await platform.close()
