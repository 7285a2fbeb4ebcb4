"""`interlock up`: what it promises to scripts that start and stop it."""

import json
import signal
import socket
import stat
import threading
import time
import urllib.error
import urllib.request

import pytest

from tests.entrypoints.cli.processes import interlock, up

READY_KEYS = {
    "base_url",
    "console_url",
    "simulator_url",
    "token_url",
    "client_id",
    "client_secret",
    "webhook_secret",
    "console_user",
    "console_password",
}
"""Of the public contract."""


def http(method: str, url: str, body=None, **headers: str):
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def test_ready_file_has_every_key_of_the_contract_and_is_its_owners_alone(tmp_path):
    ready_file = tmp_path / "elsewhere" / "ready.json"
    ready_file.parent.mkdir()
    with up(tmp_path / "data", ready_file=ready_file) as platform:
        assert platform.ready.keys() >= READY_KEYS
        assert stat.S_IMODE(ready_file.stat().st_mode) == 0o600
        assert http("GET", platform.ready["base_url"] + "/readyz")[0] == 200
        assert http("GET", platform.ready["simulator_url"] + "/books")[0] == 200
        for url in ("base_url", "simulator_url", "token_url"):
            assert platform.ready[url].startswith("http://127.0.0.1:")
        # Tools that are told the folder find the platform, too.
        paid = interlock("pay", 1999, "--data", tmp_path / "data", "--json")
        assert (paid.returncode, json.loads(paid.stdout)["status"]) == (0, "succeeded")
        assert platform.stop()[0] == 0
    assert not ready_file.exists()
    assert not (tmp_path / "data" / "ready.json").exists()


def test_second_platform_on_a_folder_ends_with_status_1_and_the_first_goes_on(tmp_path):
    with up(tmp_path) as platform:
        second = interlock("up", "--data", tmp_path, "--port", 0)
        assert second.returncode == 1
        assert "another process runs the api on" in second.stderr
        assert "Traceback" not in second.stderr
        assert http("GET", platform.ready["base_url"] + "/readyz")[0] == 200
        assert (tmp_path / "ready.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_it_within_ten_seconds_with_status_0(tmp_path, number):
    with up(tmp_path) as platform:
        began = time.monotonic()
        platform.process.send_signal(number)
        assert platform.process.wait(15) == 0
        assert time.monotonic() - began < 10
        simulator = platform.ready["simulator_url"]
        with pytest.raises(urllib.error.URLError):
            http("GET", simulator + "/healthz")


def test_signal_stops_it_within_ten_seconds_while_a_provider_does_not_answer(tmp_path):
    with up(tmp_path) as platform:
        plan = {"outages": [{"mode": "hang"}], "hang_s": 30}
        assert http("PUT", platform.ready["simulator_url"] + "/faults", plan)[0] == 200
        waiting = threading.Thread(target=interlock, args=("pay", 500, "--data", tmp_path), daemon=True)
        waiting.start()
        until = time.monotonic() + 20
        while not json.loads(interlock("payments", "list", "--data", tmp_path, "--json").stdout):
            assert time.monotonic() < until
        status, took_s = platform.stop()
        assert (status, took_s < 10) == (0, True)
        waiting.join(30)


def test_restart_keeps_data_and_credentials(tmp_path):
    with up(tmp_path) as platform:
        before = platform.ready
        paid = json.loads(interlock("pay", 1999, "--data", tmp_path, "--json").stdout)
        assert platform.stop()[0] == 0
    with up(tmp_path) as platform:
        after = platform.ready
        for kept in ("client_id", "client_secret", "webhook_secret"):
            assert after[kept] == before[kept]
        token = interlock("token", "--data", tmp_path).stdout.strip()
        url = f"{after['base_url']}/v1/payments/{paid['id']}"
        assert http("GET", url, Authorization=f"Bearer {token}") == (200, paid)
        # The provider's books are the same, too: what was charged can be given back.
        body = {"amount": 999}
        key = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k1"}
        status, refund = http("POST", f"{url}/refunds", body, **key)
        assert (status, refund["status"]) == (201, "succeeded")


def test_ready_file_of_a_killed_platform_is_gone_before_the_next_one_is_ready(tmp_path):
    with up(tmp_path) as platform:
        platform.process.kill()
        platform.process.wait()
    assert (tmp_path / "ready.json").exists()
    with up(tmp_path, ready_file=tmp_path / "other.json") as platform:
        assert json.loads((tmp_path / "ready.json").read_text()) == platform.ready
        assert platform.ready["pid"] == platform.process.pid


def test_without_simulator_there_is_no_provider_and_a_payment_is_refused(tmp_path):
    with up(tmp_path, "--no-simulator") as platform:
        assert platform.ready["simulator_url"] is None
        assert platform.ready["providers"] == []
        refused = interlock("pay", 100, "--data", tmp_path)
        assert refused.returncode == 1
        assert json.loads(interlock("payments", "list", "--data", tmp_path, "--json").stdout) == []


def test_port_that_is_taken_ends_it_with_status_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = interlock("up", "--data", tmp_path, "--port", taken.getsockname()[1])
    assert ended.returncode == 1
    assert "cannot start" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "ready.json").exists()


def test_corrupt_settings_file_lists_every_fault_at_once_and_ends_with_status_2(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text(
        'port = "x"\ncolour = 3\nlog_level = "loud"\n'
        '[[providers]]\nname = "a b"\nkind = "paypal"\nbase_url = "ftp://x"\nread_timeout_s = 0\n'
        '[[providers]]\nname = "good"\n'
        '[external_issuer]\nissuer = "nope"\n'
        '[sign_in]\nissuer = "http://login.example.com"\nsecret = "s"\nroles = {lead = "lead", boss = "owner"}\n'
    )
    environment = {"INTERLOCK_SWEEP_INTERVAL_S": "-1", "INTERLOCK_NO_SUCH": "1"}
    ended = interlock("up", "--data", tmp_path / "data", "--settings", settings, environment=environment)
    assert ended.returncode == 2
    named = {line.partition(":")[0] for line in ended.stderr.splitlines()}
    assert named == {
        "port",
        "colour",
        "log_level",
        "providers[0].name",
        "providers[0].kind",
        "providers[0].base_url",
        "providers[0].read_timeout_s",
        "providers[1].kind",
        "providers[1].base_url",
        "external_issuer.issuer",
        "external_issuer.jwks_uri",
        "external_issuer.audience",
        "sign_in.issuer",
        "sign_in.client_id",
        "sign_in.secret",
        "sign_in.roles.boss",
        "sweep_interval_s",
        "INTERLOCK_NO_SUCH",
    }
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", ["not toml [", b"\xff\xfe\x00", None])
def test_settings_file_that_cannot_be_read_ends_it_with_status_2_and_names_it(tmp_path, content):
    settings = tmp_path / "settings.toml"
    if content is not None:
        settings.write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = interlock("up", "--data", tmp_path / "data", "--settings", settings)
    assert ended.returncode == 2
    assert str(settings) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_settings_that_contradict_each_other_end_it_with_status_2(tmp_path):
    environment = {
        "INTERLOCK_PROVIDERS": '[{"name":"a","kind":"stripe","base_url":"http://127.0.0.1:1"},'
        '{"name":"a","kind":"stripe","base_url":"http://127.0.0.1:1"}]',
        "INTERLOCK_ATTEMPT_DEADLINE_S": "5",
        "INTERLOCK_SIGN_IN": '{"issuer":"https://login.example.com","client_id":"desk","scopes":["a b"],"roles":{}}',
    }
    ended = interlock("up", "--data", tmp_path / "data", environment=environment)
    assert ended.returncode == 2
    named = [line.partition(":")[0] for line in ended.stderr.splitlines()]
    assert named == ["providers", "attempt_deadline_s", "sign_in.scopes", "sign_in.scopes", "sign_in.roles"]


def test_provider_without_its_credential_ends_it_with_status_1_and_says_which(tmp_path):
    environment = {"INTERLOCK_PROVIDERS": '[{"name":"stripe","kind":"stripe","base_url":"http://127.0.0.1:1"}]'}
    ended = interlock("up", "--data", tmp_path, "--port", 0, environment=environment)
    assert ended.returncode == 1
    assert "stripe" in ended.stderr
    assert "secret_key" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_folder_with_a_broken_database_ends_it_with_status_1(tmp_path):
    (tmp_path / "interlock.db").write_bytes(b"not a database, by far" * 1000)
    ended = interlock("up", "--data", tmp_path, "--port", 0)
    assert ended.returncode == 1
    assert "not a database" in ended.stderr
    assert "Traceback" not in ended.stderr
