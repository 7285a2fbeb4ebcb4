"""Every command against a running platform: what it prints, its exit status, and that no secret slips out."""

import json
import re
import sqlite3
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from interlock.bootstrap import DATABASE_FILE
from interlock.entrypoints.cli.main import app
from tests.entrypoints.cli.processes import interlock, up

pytestmark = pytest.mark.xdist_group("cli")
NO_PAYMENT, NO_DELIVERY, NO_CLIENT = (f"{kind}_{'0' * 26}" for kind in ("pay", "dlv", "cli"))
HOOK = "http://127.0.0.1:9/hook"
"""Nothing listens there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli") / "data"


@pytest.fixture(scope="module")
def platform(folder):
    with up(folder) as running:
        yield running


@pytest.fixture
def run(platform, folder, monkeypatch):
    """Run a command on the platform's folder, within this process: `status`, `out`, `err`."""
    for name in [name for name in __import__("os").environ if name.startswith("INTERLOCK_")]:
        monkeypatch.delenv(name)

    def command(*arguments: object, stdin: str = ""):
        result = CliRunner().invoke(app, [*map(str, arguments), "--data", str(folder)], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(status=result.exit_code, out=result.stdout, err=result.stderr)

    return command


@pytest.fixture
def paid(run):
    """A payment, captured."""
    return json.loads(run("pay", 1999, "EUR", "--reference", "order-17", "--json").out)


def test_help_lists_every_command():
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for word in (
        *("up", "demo", "token", "pay", "explain", "doctor", "payments"),
        *("events", "webhooks", "queue", "ledger", "workflows", "clients", "keys", "secrets"),
    ):
        assert re.search(rf"^│ {word} ", shown, re.MULTILINE), word


def test_read_models_that_were_lost_are_rebuilt_from_the_histories(run, paid, folder):
    def listed() -> list[str]:
        return [one["id"] for one in json.loads(run("payments", "list", "--json").out)]

    assert paid["id"] in listed()
    with sqlite3.connect(folder / DATABASE_FILE) as file:
        file.execute("DELETE FROM documents_payments")
    file.close()
    assert listed() == []
    rebuilt = run("dr", "rebuild-read-models")
    assert re.fullmatch(r"\d+ events are in the read models\n", rebuilt.out)
    assert paid["id"] in listed()
    assert run("dr", "rebuild-read-models", "--after", "nowhere").status == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["pay"],
        ["pay", "much"],
        ["pay", "100", "--capture-method", "later"],
        ["payments"],
        ["payments", "list", "--status", "happy"],
        ["payments", "list", "--limit", "0"],
        ["webhooks", "list", "--status", "lost"],
        ["queue", "list", "nosuch"],
        ["queue", "redrive", "nosuch"],
        ["ledger", "export", "--format", "xls"],
        ["clients", "create", "x"],
        ["clients", "create", "x", "--scope", "payments:read", "--public-keys", "/nosuch"],
        ["secrets", "set", "stripe", "secret_key"],
        ["demo", "--payments", "0"],
        ["demo", "--fault-rate", "0.9"],
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(arguments):
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 2
    assert ended.stderr or ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["payments", "show", NO_PAYMENT],
        ["explain", NO_PAYMENT],
        ["explain", "order-17"],
        ["webhooks", "retry", NO_DELIVERY],
        ["clients", "rotate", NO_CLIENT],
        ["clients", "disable", NO_CLIENT],
        ["clients", "create", "x", "--scope", "everything"],
        ["ledger", "export", "--output", "/nosuch/journal"],
        ["pay", "0"],
        ["pay", "100", "XXX"],
        ["pay", "100", "--provider", "nosuch"],
    ],
)
def test_what_cannot_be_done_is_status_1_with_one_reason_and_no_traceback(run, arguments):
    ended = run(*arguments)
    assert ended.status == 1
    assert len(ended.err.strip().splitlines()) == 1
    assert "Traceback" not in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["token"],
        ["pay", "100"],
        ["payments", "list"],
        ["ledger", "verify"],
        ["queue", "list"],
        ["events", "tail"],
        ["doctor"],
    ],
)
def test_folder_without_data_is_status_1(tmp_path, arguments):
    ended = interlock(*arguments, "--data", tmp_path / "nothing")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "nothing").exists()


def test_payment_is_made_shown_listed_and_explained(run, paid):
    assert (paid["status"], paid["amount"], paid["currency"]) == ("succeeded", 1999, "EUR")
    shown = json.loads(run("payments", "show", paid["id"]).out)
    assert shown == paid
    by_reference = json.loads(run("payments", "list", "--reference", "order-17", "--json").out)
    assert paid["id"] in [one["id"] for one in by_reference]
    assert json.loads(run("payments", "list", "--reference", "order-18", "--json").out) == []
    told = run("explain", paid["id"])
    assert told.status == 0
    assert paid["id"] in told.out
    assert "19.99 EUR" in told.out
    kinds = {entry["kind"] for entry in json.loads(run("explain", paid["id"], "--json").out)["entries"]}
    assert {"event", "exchange", "journal"} <= kinds


def test_lines_and_spans_are_told_among_the_rest_if_asked_for(run, paid, until):
    told = until.holds(lambda: out if "http.request took" in (out := run("explain", paid["id"], "--lines").out) else "")
    assert re.search(r"Z  line      info payment\.succeeded\n    .*aggregate=pay_\w+.* trace=[0-9a-f]{32}\n", told)
    assert re.search(
        r"Z  span      provider\.call took \d+\.\d\d ms\n    .*outcome=approved .*trace=[0-9a-f]{32}\n", told
    )
    times = re.findall(r"^(\S+Z)  ", told, re.MULTILINE)
    assert times == sorted(times)
    plain = run("explain", paid["id"]).out
    assert "provider.call took" not in plain
    assert set(plain.splitlines()) <= set(told.splitlines())


def test_table_in_a_pipe_has_a_line_for_each_payment_and_none_is_cut(run, paid):
    listed = run("payments", "list").out
    (line,) = [line for line in listed.splitlines() if paid["id"] in line]
    assert line.split()[:6] == [paid["id"], "succeeded", "19.99", "EUR", "simulator", "order-17"]


def test_declined_payment_says_why(run):
    ended = run("pay", 700, "KWD", "--token", "tok_decline_stolen")
    assert ended.status == 0
    assert "failed  0.700 KWD" in ended.out
    assert "declined: stolen_card (hard)" in ended.out


def test_same_key_pays_once(run):
    first = json.loads(run("pay", 500, "JPY", "--key", "once", "--json").out)
    again = json.loads(run("pay", 500, "JPY", "--key", "once", "--json").out)
    assert again == first
    other = run("pay", 501, "JPY", "--key", "once")
    assert other.status == 1
    assert "idempotency key" in other.err


def test_payments_of_another_tenant_are_not_found(run, paid):
    assert run("payments", "show", paid["id"], "--tenant", "ten_other").status == 1
    assert json.loads(run("payments", "list", "--tenant", "ten_other", "--json").out) == []


def test_events_are_shown_latest_last_one_a_line(run, paid):
    shown = run("events", "tail", "--limit", 3)
    assert shown.status == 0
    assert len(shown.out.splitlines()) == 3
    events = [json.loads(line) for line in run("events", "tail", "--limit", 500, "--json").out.splitlines()]
    ours = [event["type"] for event in events if event["aggregate"] == paid["id"]]
    assert ours == ["payment.created", "payment.succeeded"]
    assert run("events", "tail", "--tenant", "ten_other").out == ""


def test_webhooks_are_listed_and_attempted_again(run, platform, until):
    token = run("token").out.strip()
    endpoint = until.post(f"{platform.ready['base_url']}/v1/webhook_endpoints", token, {"url": HOOK, "events": ["*"]})
    run("pay", 100)
    listed = until.holds(lambda: json.loads(run("webhooks", "list", "--endpoint", endpoint["id"], "--json").out))
    until.holds(lambda: json.loads(run("webhooks", "list", "--status", "pending", "--json").out)[-1]["attempts_total"])
    assert listed[0]["id"] in run("webhooks", "list").out
    before = json.loads(run("webhooks", "list", "--json").out)[-1]
    retried = run("webhooks", "retry", before["id"])
    assert (retried.status, retried.err) == (0, "")
    until.holds(
        lambda: json.loads(run("webhooks", "list", "--json").out)[-1]["attempts_total"] > before["attempts_total"]
    )
    until.delete(f"{platform.ready['base_url']}/v1/webhook_endpoints/{endpoint['id']}", token)


def test_queues_are_listed_and_redriving_nothing_is_said(run):
    rows = json.loads(run("queue", "list", "--json").out)
    assert [row["queue"] for row in rows] == ["notifications", "webhooks", "workflows"]
    assert json.loads(run("queue", "list", "notifications", "--json").out) == []
    assert run("queue", "redrive", "notifications").out.strip() == "0 redriven"


def test_ledger_is_verified_exported_and_balanced(run, paid, tmp_path, until):
    report = until.holds(lambda: _sound_and_counted(run))
    assert report["findings"] == []
    balances = json.loads(run("ledger", "balances", "--json").out)["data"]
    totals: dict[str, int] = {}
    for one in balances:
        totals[one["currency"]] = totals.get(one["currency"], 0) + one["debits"] - one["credits"]
    assert set(totals.values()) == {0}
    for format in ("hledger", "beancount", "csv"):
        file = tmp_path / format
        assert run("ledger", "export", "--format", format, "--output", file).status == 0
        assert file.read_text() == run("ledger", "export", "--format", format).out
        assert paid["id"] in file.read_text()


def _sound_and_counted(run):
    report = json.loads(run("ledger", "verify", "--json").out)
    return report if report["sound"] and report["behind"] == 0 else None


def test_client_is_made_rotated_disabled_and_its_secret_shown_only_then(run, platform, until):
    made = json.loads(run("clients", "create", "shop", "--scope", "payments:read", "--json").out)
    assert until.logs_in(platform.ready, made["client_id"], made["client_secret"])
    rotated = json.loads(run("clients", "rotate", made["client_id"], "--json").out)
    assert rotated["client_secret"] != made["client_secret"]
    assert until.logs_in(platform.ready, made["client_id"], rotated["client_secret"])
    listed = run("clients", "list").out
    assert made["client_id"] in listed
    assert made["client_secret"] not in listed
    assert run("clients", "disable", made["client_id"], "--reason", "gone").status == 0
    until.holds(lambda: not until.logs_in(platform.ready, made["client_id"], rotated["client_secret"]))


def test_signing_key_is_rotated_and_tokens_go_on(run, platform):
    assert run("keys", "rotate").status == 0
    assert run("pay", 100).status == 0


def test_provider_secret_is_kept_and_never_shown(run, folder):
    kept = run("secrets", "set", "stripe", "secret_key", stdin="sk_test_do_not_show\n")
    assert kept.status == 0
    assert "sk_test" not in kept.out + kept.err
    assert "sk_test_do_not_show" in (folder / "secrets.json").read_text()


def test_doctor_finds_nothing_wrong_and_then_what_is(run, folder):
    assert run("doctor").status == 0
    assert all(check["ok"] for check in json.loads(run("doctor", "--json").out))
    (folder / "secrets.json").chmod(0o644)
    try:
        wrong = run("doctor")
        assert wrong.status == 1
        assert "WRONG the secrets file is readable by its owner only: chmod 600" in wrong.out
    finally:
        (folder / "secrets.json").chmod(0o600)


def test_doctor_says_that_the_database_is_broken(tmp_path):
    (tmp_path / "interlock.db").write_bytes(b"not a database, by far" * 1000)
    ended = interlock("doctor", "--data", tmp_path)
    assert ended.returncode == 1
    assert "WRONG the database opens" in ended.stdout


def test_commands_work_while_the_environment_names_a_provider_without_credentials(folder, platform):
    provider = '[{"name":"other","kind":"stripe","base_url":"http://127.0.0.1:1"}]'
    ended = interlock("payments", "list", "--data", folder, environment={"INTERLOCK_PROVIDERS": provider})
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_command_and_no_log_line_shows_a_secret(run, folder, paid, platform):
    secrets = set(_strings(json.loads((folder / "secrets.json").read_text())))
    secrets |= {part for secret in secrets for part in secret.split(":")}
    secrets = {secret for secret in secrets if len(secret) >= 16 and not secret.startswith("cli_")}
    assert platform.ready["client_secret"] in secrets
    assert platform.ready["webhook_secret"] in secrets
    shown = [
        run(*command.split()).out
        for command in (
            "payments list --json",
            f"explain {paid['id']} --json",
            f"explain {paid['id']} --lines",
            "events tail --limit 1000 --json",
            "webhooks list --json",
            "queue list",
            "clients list",
            "doctor --json",
            "ledger export",
        )
    ]
    shown.append((folder / "interlock.log").read_text())
    shown.append(paid["id"] + json.dumps(paid))
    for text in shown:
        for secret in secrets:
            assert secret not in text
        assert "tok_approve" not in text
        assert "whsec_" not in text


def _strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


# -- workflows ---------------------------------------------------------------------------------------------------------


def ended(run, until, execution):
    """Where an execution is once it does not run any more."""

    def over():
        shown = json.loads(run("workflows", "show", execution, "--json").out)
        return shown if shown["status"] != "running" else None

    return until.holds(over)


def test_workflow_is_started_once_carried_on_by_the_worker_and_shown(run, paid, until):
    input = json.dumps({"tenant": "ten_local", "payment": paid["id"]})
    execution = run("workflows", "start", "recover_payment", "--id", "cli-1", "--input", input).out.strip()
    assert execution == "recover_payment/cli-1"
    assert (
        run("workflows", "start", "recover_payment", "--id", "cli-1", "--input", "-", stdin=input).out.strip()
        == execution
    )
    shown = ended(run, until, execution)
    assert (shown["status"], shown["output"]["status"]) == ("succeeded", "certain")
    assert {"state": "LookUp", "what": "succeeded", "error": None} in shown["history"]
    people = run("workflows", "show", execution)
    assert people.status == 0 and "recover_payment/cli-1  succeeded" in people.out and "Recovered  left" in people.out


def test_bulk_refund_is_approved_by_a_second_person_on_the_command_line(run, paid, until):
    input = {"tenant": "ten_local", "requested_by": "ann", "items": [{"payment": paid["id"], "amount": 100}]}
    start = ("workflows", "start", "bulk_refund", "--id", "cli-2", "--input", json.dumps(input))
    execution = run(*start).out.strip()
    until.holds(
        lambda: run("workflows", "approve", "cli-2", "--by", "ann").err.startswith("a bulk refund is approved by")
    )
    assert run("workflows", "approve", "cli-2", "--by", "bob").out == "approved\n"
    assert ended(run, until, execution)["output"] == {"outcome": "approved", "refunded": 1, "not_refunded": []}
    late = run("workflows", "reject", "cli-2", "--by", "carl")
    assert late.status == 1 and "does not wait" in late.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["start", "sing", "--id", "x"], "no workflow 'sing'"),
        (["start", "file_intake", "--id", "a b"], "no id of an execution"),
        (["start", "file_intake", "--id", "x", "--input", "{"], "no JSON"),
        (["show", "file_intake/never"], "no such execution"),
        (["signal", "--output", "1"], "no task waits"),
        (["signal"], "either --output or --error"),
        (["approve", "never", "--by", "bob"], "no such bulk refund"),
    ],
)
def test_workflow_command_that_cannot_be_carried_out_says_why(run, arguments, words):
    refused = run("workflows", *arguments)
    assert refused.status == 1
    assert words in refused.err


def test_failed_execution_is_shown_with_status_1(run, until):
    input = json.dumps({"tenant": "ten_local", "requested_by": "ann", "items": []})
    execution = run("workflows", "start", "bulk_refund", "--id", "cli-3", "--input", input).out.strip()
    assert ended(run, until, execution)["error"] == "Invalid"
    shown = run("workflows", "show", execution)
    assert shown.status == 1 and "Invalid: The request is malformed; nothing was done." in shown.out
