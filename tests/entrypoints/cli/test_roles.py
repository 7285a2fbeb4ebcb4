"""API and worker in processes of their own on one folder: `interlock up --worker-apart`, `interlock api`, `interlock worker`."""

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.entrypoints.cli.processes import interlock, up, worker


def payments(folder: Path) -> list:
    return json.loads(interlock("payments", "list", "--data", folder, "--json").stdout)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def workers_of(pid: int) -> list[int]:
    """Those of its children that are workers."""
    found = []
    for child in children(pid):
        arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"worker" in arguments:
            found.append(child)
    return found


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "interlock.log").read_text().splitlines()]


def metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return answer.read().decode()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- one command, two processes -----------------------------------------------------------------------------------------


def test_worker_apart_brings_payments_into_the_lists_and_shows_metrics_of_its_own(tmp_path, until):
    with up(tmp_path, "--worker-apart") as platform:
        until.holds(lambda: workers_of(platform.process.pid))
        assert interlock("pay", 1999, "--data", tmp_path).returncode == 0
        assert until.holds(lambda: payments(tmp_path))[0]["status"] == "succeeded"
        until.holds(lambda: 'type="payment.succeeded"} 1.0' in metrics(platform.ready["worker_url"]))
        assert "interlock_payment_events_total{" not in metrics(platform.ready["base_url"])
        worker_pid = workers_of(platform.process.pid)[0]
        status, took_s = platform.stop()
        assert (status, took_s < 10) == (0, True)
        assert not is_alive(worker_pid)


def test_worker_that_is_killed_is_started_anew_and_the_log_says_so(tmp_path, until):
    with up(tmp_path, "--worker-apart") as platform:
        (first,) = until.holds(lambda: workers_of(platform.process.pid))
        until.holds(lambda: any(line["event"] == "worker.started" for line in log(tmp_path)))
        os.kill(first, signal.SIGKILL)
        assert interlock("pay", 700, "--data", tmp_path).returncode == 0
        assert until.holds(lambda: payments(tmp_path))[0]["amount"] == 700
        assert workers_of(platform.process.pid) != [first]
        told = [(line["event"], line.get("status")) for line in log(tmp_path) if line["event"].startswith("worker.")]
        assert told == [
            ("worker.started", None),
            ("worker.ended", -signal.SIGKILL),
            ("worker.restarted", None),
            ("worker.started", None),
        ]


def test_worker_dies_with_the_platform_that_started_it_and_the_next_start_is_not_refused(tmp_path, until):
    with up(tmp_path, "--worker-apart") as platform:
        (child,) = until.holds(lambda: workers_of(platform.process.pid))
        platform.process.kill()
        platform.process.wait()
        until.holds(lambda: not is_alive(child))
    with up(tmp_path, ready_file=tmp_path / "next.json") as platform:
        assert platform.stop()[0] == 0


def test_worker_in_the_same_process_is_no_child_and_has_no_address_of_its_own(tmp_path):
    with up(tmp_path) as platform:
        assert workers_of(platform.process.pid) == []
        assert platform.ready["worker_url"] is None


# -- a command for each role --------------------------------------------------------------------------------------------


def test_each_role_is_held_by_one_process_and_up_wants_both(tmp_path):
    with up(tmp_path, command="api"), worker(tmp_path):
        for command, role in ((("api", "--port", 0), "api"), (("worker",), "worker"), (("up", "--port", 0), "api")):
            refused = interlock(*command, "--data", tmp_path)
            assert refused.returncode == 1
            assert f"another process runs the {role} on" in refused.stderr
            assert "Traceback" not in refused.stderr
        assert (tmp_path / "ready.json").exists()
    with worker(tmp_path):
        refused = interlock("up", "--port", 0, "--data", tmp_path)
        assert (refused.returncode, "another process runs the worker on" in refused.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_one_role_with_status_0_and_the_other_goes_on(tmp_path, number):
    with up(tmp_path, command="api") as platform, worker(tmp_path) as process:
        process.send_signal(number)
        assert process.wait(10) == 0
        assert interlock("token", "--data", tmp_path).returncode == 0
        with worker(tmp_path) as again:
            platform.process.send_signal(number)
            assert platform.process.wait(10) == 0
            assert not (tmp_path / "ready.json").exists()
            assert again.poll() is None


LOOPBACK = {"INTERLOCK_WEBHOOK_ALLOW_LOOPBACK": "true"}


def register_and_pay(platform, folder: Path, endpoint: socket.socket, until) -> None:
    """Have a webhook sent to `endpoint`."""
    url = f"http://127.0.0.1:{endpoint.getsockname()[1]}/hook"
    token = interlock("token", "--data", folder).stdout.strip()
    until.post(f"{platform.ready['base_url']}/v1/webhook_endpoints", token, {"url": url, "events": ["*"]})
    body = {"amount": 100, "currency": "EUR", "payment_method": {"type": "card", "token": "tok_approve"}}
    until.post(f"{platform.ready['base_url']}/v1/payments", token, {**body, "confirm": False}, key="k1")
    endpoint.settimeout(20)


def test_worker_drains_within_ten_seconds_while_an_endpoint_does_not_answer(tmp_path, until):
    with (
        up(tmp_path, command="api", environment=LOOPBACK) as platform,
        worker(tmp_path, environment=LOOPBACK) as process,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        register_and_pay(platform, tmp_path, silent, until)
        connection, _ = silent.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def test_webhook_of_a_worker_that_was_killed_while_sending_is_sent_by_the_next_one_at_once(tmp_path, until):
    with (
        up(tmp_path, command="api", environment=LOOPBACK) as platform,
        socket.create_server(("127.0.0.1", 0)) as silent,
    ):
        with worker(tmp_path, environment=LOOPBACK) as process:
            register_and_pay(platform, tmp_path, silent, until)
            first, _ = silent.accept()
            process.kill()
            process.wait()
        with worker(tmp_path, environment=LOOPBACK):
            silent.settimeout(5)  # leases are longer
            second, _ = silent.accept()
        first.close()
        second.close()


def test_worker_without_a_providers_credential_ends_with_status_1_and_says_which(tmp_path):
    environment = {"INTERLOCK_PROVIDERS": '[{"name":"stripe","kind":"stripe","base_url":"http://127.0.0.1:1"}]'}
    ended = interlock("worker", "--data", tmp_path, environment=environment)
    assert (ended.returncode, "secret_key" in ended.stderr, "Traceback" in ended.stderr) == (1, True, False)
